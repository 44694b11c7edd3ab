//! One layer at a time: a tonic client of Dapr, observed by composition.
//!
//! ```text
//! cargo run --example layers_by_hand
//! ```
//!
//! Talks to the daprd at `DAPR_GRPC_PORT` if that is set, else to an embedded sidecar that it starts itself.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{env, error::Error};

use dapr::dapr::proto::{
    common::v1::StateItem,
    runtime::v1::{DeleteStateRequest, GetStateRequest, SaveStateRequest, dapr_client::DaprClient},
};
use tonic::transport::Endpoint;
use tower::ServiceBuilder;
use tower_dapr::{
    metrics::MetricsLayer,
    sidecar::Hub,
    testing::{MetricRecorder, SpanRecorder},
    trace::TraceLayer,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let hub = Hub::builder().state_store("statestore").build();
    let sidecar = hub.app("by-hand").start().await?;
    let port = match env::var("DAPR_GRPC_PORT") {
        Ok(port) => port.parse()?,
        Err(_) => sidecar.grpc_port(),
    };

    // Any providers of OpenTelemetry do; these keep what they get, to be shown below.
    let (spans, metrics) = (SpanRecorder::new(), MetricRecorder::new());
    let (tracer_provider, meter_provider) = (spans.provider("by-hand"), metrics.provider("by-hand"));

    let channel = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))?.connect_lazy();
    let observed = ServiceBuilder::new()
        // A span for each call, its context in the call's metadata.
        .layer(TraceLayer::client().with_tracer_provider(&tracer_provider).with_server_address("127.0.0.1", port))
        // Duration and result of each call.
        .layer(MetricsLayer::client().with_meter_provider(&meter_provider))
        .service(channel);

    // From here on nothing knows that it is observed.
    let mut client = DaprClient::new(observed);
    let item = StateItem { key: "tea".into(), value: b"12".to_vec(), ..StateItem::default() };
    client.save_state(SaveStateRequest { store_name: "statestore".into(), states: vec![item] }).await?;
    let get = GetStateRequest { store_name: "statestore".into(), key: "tea".into(), ..GetStateRequest::default() };
    println!("tea: {}", String::from_utf8_lossy(&client.get_state(get.clone()).await?.into_inner().data));
    let delete = DeleteStateRequest { store_name: "statestore".into(), key: "tea".into(), ..Default::default() };
    client.delete_state(delete).await?;
    // A failure is in the trailers of its answer, behind a head that says 200.
    let failure = client.get_state(GetStateRequest { store_name: "no-such-store".into(), ..get }).await;
    println!("a store that is not there: {:?}\n", failure.map_err(|status| status.code()).err());

    for trace in spans.traces() {
        print!("{}", trace.render());
    }
    for point in metrics.histogram("rpc.client.call.duration") {
        let of = |key| point.attribute_str(key).unwrap_or("-").to_owned();
        let (method, store) = (of("rpc.method"), of("dapr.component.name"));
        println!("{} x {method} on {store}: {}", point.count(), of("rpc.response.status_code"));
    }
    Ok(())
}
