//! API tokens: the sidecar's, and the app's.

use axum::{Router, body::Bytes, http::HeaderMap, routing::post};
use tonic::Code;
use tower_dapr::{
    inbound::{RequireApiTokenLayer, Subscriptions, Topic},
    outbound::{ApiToken, Dapr, Endpoint},
};

use super::{
    app::{BOTH, Seen, beside, ids, serve, take},
    world::Backend,
};
use crate::real::{App, Log};

super::tests![
    the_sidecar_takes_its_token_and_no_other,
    the_app_is_sent_its_token_and_never_the_callers,
    an_app_that_asks_for_its_token_gets_events,
];

async fn the_sidecar_takes_its_token_and_no_other(backend: Backend) {
    let world = backend.builder().api_token("right-token").start().await;
    let app = world.app("app").start().await;
    app.dapr().state("statestore").save("key", &1_u32).await.unwrap();
    for token in [Some("wrong-token"), Some("right-toke"), Some("right-token2"), None] {
        let mut builder = Dapr::builder().endpoint(Endpoint::local(app.grpc));
        if let Some(token) = token {
            builder = builder.api_token(ApiToken::new(token).unwrap());
        }
        let error = builder.build().unwrap().state("statestore").get::<u32>("key").await.unwrap_err();
        assert_eq!(error.code(), Some(Code::Unauthenticated), "{token:?}: {error}");
        assert!(
            error.is_unauthenticated() && error.to_string().contains("UNAUTHENTICATED: `DAPR_API_TOKEN`"),
            "{error}"
        );
        let text = format!("{error} {error:?} {}", error.message());
        assert!(!text.contains("right-token") && !text.contains("wrong-token"), "{text}");
    }
    assert_eq!(app.get("/v1.0/state/statestore/key").await.status, 401);
    // Who asks for health needs none.
    assert_eq!(app.get("/v1.0/healthz").await.status, 204);
}

async fn the_app_is_sent_its_token_and_never_the_callers(backend: Backend) {
    let world = backend.builder().api_token("for-the-sidecar").start().await;
    let seen = Log::<HeaderMap>::default();
    let log = seen.clone();
    // Takes the body as well: daprd is still writing it.
    let echo = post(async move |headers: HeaderMap, _: Bytes| log.push(headers));
    let app = App::serve(Router::new().route("/echo", echo)).await;
    let _callee = world.app("callee").http(&app).app_token("for-the-app").start().await;
    let caller = world.app("caller").start().await;
    caller.dapr().invoke("callee").post("echo").json(&1).send().await.unwrap();
    let headers = &seen.until_len(1).await[0];
    let tokens: Vec<_> = headers.get_all("dapr-api-token").iter().collect();
    assert_eq!(tokens, ["for-the-app"]);
    assert!(!format!("{headers:?}").contains("for-the-sidecar"), "{headers:?}");
}

async fn an_app_that_asks_for_its_token_gets_events(backend: Backend) {
    for speaks in BOTH {
        let world = backend.start().await;
        let seen = Log::<Seen>::default();
        let subscriptions = Subscriptions::new()
            .topic(Topic::new("pubsub", "orders"), take(&seen))
            .require_api_token(RequireApiTokenLayer::new("for-the-app").unwrap());
        let app = serve(speaks, subscriptions).await;
        let app = beside(world.app("app").app_token("for-the-app"), speaks, &app).start().await;
        app.dapr().publish("pubsub", "orders").json(&1).id("1").await.unwrap();
        assert_eq!(ids(&seen.until_len(1).await), ["1"], "{speaks:?}");
    }
}
