//! Jobs: what the scheduler calls an app for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::Json;
use serde_json::{Value, json};
use tower_dapr::{event::Outcome, inbound::Subscriptions, outbound::FailurePolicy};

use super::{
    app::{BOTH, beside, serve},
    world::Backend,
};
use crate::real::Log;

super::tests![a_job_comes_back_to_its_app, a_job_is_known_until_it_is_deleted];

async fn a_job_comes_back_to_its_app(backend: Backend) {
    let world = backend.builder().control_plane().start().await;
    for speaks in BOTH {
        let (runs, failing) = (Log::<Value>::default(), Log::<Value>::default());
        let (log, failures, refuse) = (runs.clone(), failing.clone(), Arc::new(AtomicU32::new(2)));
        let subscriptions = Subscriptions::new()
            .job("restock", async move |Json(data): Json<Value>| log.push(data))
            .job("failing", async move |Json(data): Json<Value>| {
                failures.push(data);
                let left = refuse.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
                if left.is_ok() { Outcome::Retry } else { Outcome::Success }
            });
        let app = serve(speaks, subscriptions).await;
        let app = beside(world.app(&format!("app-{speaks:?}").to_lowercase()), speaks, &app).start().await;
        let dapr = app.dapr();
        let jobs = dapr.jobs();
        jobs.schedule("restock").every(Duration::from_secs(1)).repeats(2).json(&json!({ "sku": "tea" })).await.unwrap();
        let policy = FailurePolicy::Constant { interval: Duration::from_millis(200), max_retries: Some(5) };
        jobs.schedule("failing").due(Duration::ZERO).on_failure(policy).json(&json!("once")).await.unwrap();
        assert_eq!(runs.until_len(2).await, [json!({ "sku": "tea" }), json!({ "sku": "tea" })], "{speaks:?}");
        assert_eq!(failing.until_len(3).await, [json!("once"), json!("once"), json!("once")], "{speaks:?}");
    }
}

async fn a_job_is_known_until_it_is_deleted(backend: Backend) {
    let world = backend.builder().control_plane().start().await;
    let app = world.app("app").start().await;
    let dapr = app.dapr();
    let jobs = dapr.jobs();
    jobs.schedule("report").cron("0 30 6 * * *").json(&"daily").await.unwrap();
    jobs.schedule("reminder").due(Duration::from_secs(3600)).await.unwrap();
    let error = jobs.schedule("report").cron("@daily").await.unwrap_err();
    assert!(error.is_already_exists(), "{error}: {}", error.message());
    jobs.schedule("report").cron("@daily").overwrite().json(&"daily").await.unwrap();
    let job = jobs.get("report").await.unwrap();
    assert_eq!((job.name(), job.schedule(), job.repeats()), ("report", Some("@daily"), None));
    assert_eq!(job.json::<String>().unwrap(), "daily");
    let mut names: Vec<_> = jobs.list().await.unwrap().into_iter().map(|job| job.name().to_owned()).collect();
    names.sort_unstable();
    assert_eq!(names, ["reminder", "report"]);
    jobs.delete("report").await.unwrap();
    jobs.delete("report").await.unwrap();
    jobs.delete_by_prefix("remind").await.unwrap();
    assert!(jobs.list().await.unwrap().is_empty());
    assert_eq!(jobs.get("report").await.unwrap_err().code(), Some(tonic::Code::Internal));
    assert_eq!(jobs.schedule("bad").cron("never").await.unwrap_err().code(), Some(tonic::Code::Internal));
}
