//! The sidecar itself: what it says of itself, its health, its end.

use std::time::Duration;

use tower_dapr::{
    inbound::{Subscriptions, Topic},
    outbound::{Dapr, Endpoint, HttpEndpoint},
};

use super::{
    app::{Seen, Speaks, serve, take},
    differences::VERSION,
    world::Backend,
};
use crate::real::{Log, PATIENCE, free_port};

super::tests![it_says_what_it_is, it_is_waited_for_until_it_is_ready, it_ends_when_it_is_told_to];

async fn it_says_what_it_is(backend: Backend) {
    let world = backend.start().await;
    let seen = Log::<Seen>::default();
    let topic = || Topic::new("pubsub", "orders");
    let subscriptions = Subscriptions::new()
        .topic(topic().when(r#"event.type == "a""#).route("/a").dead_letter("poison"), take(&seen))
        .topic(topic().route("/b").dead_letter("poison"), take(&seen));
    let app = serve(Speaks::Http, subscriptions).await;
    let port = i32::from(app.port());
    let app = world.app("app").http(&app).start().await;
    let dapr = app.dapr();
    dapr.set_metadata("build", "42").await.unwrap();
    let metadata = dapr.metadata().await.unwrap();
    assert_eq!(metadata.id, "app");
    assert!(metadata.runtime_version.starts_with(VERSION.on(backend)), "{}", metadata.runtime_version);
    assert_eq!(metadata.extended_metadata["build"], "42");
    let mut names: Vec<_> = metadata.registered_components.iter().map(|component| component.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["configstore", "lockstore", "pubsub", "secretstore", "statestore"], "all of deploy/components");
    let app_connection = metadata.app_connection_properties.unwrap();
    assert_eq!((app_connection.port, app_connection.protocol.as_str()), (port, "http"));
    let [subscription] = &metadata.subscriptions[..] else { panic!("{:?}", metadata.subscriptions) };
    let what =
        (subscription.pubsub_name.as_str(), subscription.topic.as_str(), subscription.dead_letter_topic.as_str());
    assert_eq!(what, ("pubsub", "orders", "poison"));
    let rules = &subscription.rules.as_ref().unwrap().rules;
    let rules: Vec<_> = rules.iter().map(|rule| (rule.r#match.as_str(), rule.path.as_str())).collect();
    assert_eq!(rules, [(r#"event.type == "a""#, "/a"), ("", "/b")]);
}

async fn it_is_waited_for_until_it_is_ready(backend: Backend) {
    let nobody = Dapr::builder().endpoint(Endpoint::local(free_port())).http_endpoint(HttpEndpoint::local(free_port()));
    let error = nobody.build().unwrap().wait_until_ready(Duration::from_millis(200)).await.unwrap_err();
    assert!(error.is_timeout(), "{error}");

    let world = backend.start().await;
    let mut app = world.app("app").start().await;
    let dapr = app.dapr();
    dapr.wait_until_ready(PATIENCE).await.unwrap();
    for path in ["/v1.0/healthz", "/v1.0/healthz/outbound"] {
        assert_eq!(app.get(path).await.status, 204, "{path}");
    }
    app.crash().await;
    assert!(dapr.state("statestore").get::<u32>("key").await.unwrap_err().is_unavailable());
    assert!(dapr.wait_until_ready(Duration::from_millis(200)).await.unwrap_err().is_timeout());
    let (waited, ()) = tokio::join!(dapr.wait_until_ready(PATIENCE), app.restart());
    waited.unwrap();
    // The same handle.
    assert_eq!(dapr.state("statestore").get::<u32>("key").await.unwrap(), None);
}

async fn it_ends_when_it_is_told_to(backend: Backend) {
    let world = backend.start().await;
    let mut app = world.app("app").start().await;
    app.dapr().shutdown().await.unwrap();
    app.ended().await;
}
