//! API tokens and what is exported.

use tower_dapr::outbound::{ApiToken, Dapr};

use crate::real::{PATIENCE, Stack, eventually, get, telemetry};

super::tests![no_token_is_exported];

async fn no_token_is_exported() {
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
    for token in [Some("wrong-token"), Some("right-token2"), None] {
        let error = with(token).state("statestore").get::<u32>("key").await.unwrap_err();
        assert!(error.is_unauthenticated(), "{token:?}: {error}");
    }
    telemetry.flush(PATIENCE).await.unwrap();
    let exported = async || get(&stack.jaeger().search("app")).await.unwrap().text();
    let mut text = String::new();
    eventually("all that was exported", async || {
        text = exported().await;
        text.contains("SaveState") && text.contains("GetState")
    })
    .await;
    assert!(!text.contains("right-toke") && !text.contains("wrong-token"), "{text}");
}
