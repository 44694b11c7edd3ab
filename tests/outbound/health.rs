use std::time::Duration;

use http::{Request, Response};
use tonic::{Status, body::Body};
use tower::service_fn;
use tower_dapr::outbound::Dapr;

use crate::recorded::Logged;

#[tokio::test(start_paused = true)]
async fn what_is_waited_for_is_said_every_five_seconds() {
    let refused = |_: Request<Body>| async { Err::<Response<Body>, _>(Status::unavailable("connection refused")) };
    let dapr = Dapr::new(service_fn(refused));
    let (logged, guard) = Logged::start();
    let error = dapr.wait_until_ready(Duration::from_secs(12)).await.unwrap_err();
    drop(guard);

    assert!(error.is_timeout());
    let said = logged.take();
    let lines: Vec<_> = said.lines().filter(|line| line.contains("waiting for the sidecar")).collect();
    assert_eq!(lines.len(), 3, "{said}");
    assert!(lines.iter().all(|line| line.contains("INFO") && line.contains("connection refused")), "{said}");
}
