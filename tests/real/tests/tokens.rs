//! API tokens, both ways.

use std::sync::{Arc, Mutex};

use axum::{Router, body::Bytes, http::HeaderMap, routing::post};
use tower_dapr::outbound::{ApiToken, Dapr};

use super::shop::eventually;
use crate::real::{App, Stack, get, telemetry};

super::tests![daprd_takes_the_token_it_asks_for_and_no_other, the_app_is_sent_its_token_and_never_ours];

async fn daprd_takes_the_token_it_asks_for_and_no_other() {
    let stack = Stack::start().await;
    let daprd = stack.daprd("app").env("DAPR_API_TOKEN", "right-token").start().await;
    let telemetry = telemetry("app", &stack);
    let traces = telemetry.tracer_provider().unwrap();
    let with = |token: Option<&str>| -> Dapr {
        let mut builder = daprd.builder().tracer_provider(traces);
        if let Some(token) = token {
            builder = builder.api_token(ApiToken::new(token).unwrap());
        }
        builder.build().unwrap()
    };
    with(Some("right-token")).state("statestore").save("key", &1_u32).await.unwrap();
    for token in [Some("wrong-token"), Some("right-toke"), Some("right-token2"), None] {
        let error = with(token).state("statestore").get::<u32>("key").await.unwrap_err();
        assert_eq!(error.code(), Some(tonic::Code::Unauthenticated), "{token:?}: {error}");
        let text = format!("{error} {error:?} {}", error.message());
        assert!(!text.contains("token2") && !text.contains("right-token"), "{text}");
    }
    telemetry.flush(std::time::Duration::from_secs(5)).await.unwrap();
    // Nothing that was exported holds a token.
    let exported = || async { get(&stack.jaeger().search("app")).await.unwrap().text() };
    let mut text = exported().await;
    for _ in 0..100 {
        if text.contains("SaveState") && text.contains("GetState") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        text = exported().await;
    }
    assert!(text.contains("SaveState") && text.contains("GetState"), "{text}");
    assert!(!text.contains("right-toke") && !text.contains("wrong-token"), "{text}");
}

async fn the_app_is_sent_its_token_and_never_ours() {
    let stack = Stack::builder().without_jaeger().start().await;
    let seen = Arc::new(Mutex::new(None::<HeaderMap>));
    let log = seen.clone();
    let echo = post(move |headers: HeaderMap, _: Bytes| async move { *log.lock().unwrap() = Some(headers) });
    let app = App::serve(Router::new().route("/echo", echo)).await;
    let _callee = stack.daprd("callee").app_port(app.port()).env("APP_API_TOKEN", "for-the-app").start().await;
    let caller = stack.daprd("caller").env("DAPR_API_TOKEN", "for-daprd").start().await;
    let dapr = caller.builder().api_token(ApiToken::new("for-daprd").unwrap()).build().unwrap();
    dapr.invoke("callee").post("echo").json(&1).send().await.unwrap();

    eventually("called", std::time::Duration::from_secs(5), || seen.lock().unwrap().is_some()).await;
    let headers = seen.lock().unwrap().take().unwrap();
    let tokens: Vec<_> = headers.get_all("dapr-api-token").iter().collect();
    assert_eq!(tokens, ["for-the-app"]);
    assert!(!format!("{headers:?}").contains("for-daprd"), "{headers:?}");
}
