//! Bindings: cron calls the app, files are kept, a URL is called.

use axum::{Router, routing::any};
use bytes::Bytes;
use http::Method;
use tower_dapr::{event::Outcome, inbound::Subscriptions};

use super::{
    app::{BOTH, beside, serve},
    world::Backend,
};
use crate::real::{App, Log};

super::tests![cron_calls_the_app_until_it_says_yes, files_are_kept_and_stay_in_their_folder, a_url_is_called];

async fn cron_calls_the_app_until_it_says_yes(backend: Backend) {
    for speaks in BOTH {
        let tick = [("schedule", "@every 1s"), ("direction", "input")];
        let world = backend.builder().component("tick", "bindings.cron", &tick).start().await;
        let ticks = Log::<Bytes>::default();
        let log = ticks.clone();
        let subscriptions = Subscriptions::new().binding("tick", async move |body: Bytes| {
            log.push(body);
            Outcome::Success
        });
        let app = serve(speaks, subscriptions).await;
        let _app = beside(world.app("app"), speaks, &app).start().await;
        assert_eq!(ticks.until_len(2).await[..2], [Bytes::new(), Bytes::new()], "{speaks:?}");
    }
}

async fn files_are_kept_and_stay_in_their_folder(backend: Backend) {
    let folder = [("rootPath", "$FOLDER/files")];
    let world = backend.builder().component("files", "bindings.localstorage", &folder).start().await;
    let app = world.app("app").start().await;
    let dapr = app.dapr();
    let files = dapr.binding("files");
    let named = |operation: &str, name: &str| files.invoke(operation).metadata("fileName", name);
    named("create", "a/tea.txt").bytes("mint tea").await.unwrap();
    assert_eq!(named("get", "a/tea.txt").await.unwrap().bytes(), b"mint tea");
    // What could be base64 is taken for it.
    named("create", "base64").bytes("bWludA==").await.unwrap();
    assert_eq!(named("get", "base64").await.unwrap().bytes(), b"mint");
    let listed: Vec<String> = named("list", "a").await.unwrap().json().unwrap();
    assert!(listed.len() == 1 && listed[0].ends_with("a/tea.txt"), "{listed:?}");
    named("delete", "a/tea.txt").await.unwrap();
    assert_eq!(named("get", "a/tea.txt").await.unwrap_err().code(), Some(tonic::Code::Internal));
    let outside = world.folder().join("outside.txt");
    for name in ["../out.txt", "a/../../out.txt", outside.to_str().unwrap()] {
        // Either refused, or taken for a name below the folder.
        let _ = named("create", name).bytes("x").await;
    }
    assert!(!world.folder().join("out.txt").exists() && !outside.exists());

    let error = files.invoke("zap").await.unwrap_err();
    assert!(error.message().contains("zap"), "{}", error.message());
    let error = dapr.binding("nope").invoke("create").await.unwrap_err();
    assert!(error.to_string().contains("`nope`") && error.message().contains("nope"), "{error}: {}", error.message());
}

async fn a_url_is_called(backend: Backend) {
    let seen = Log::<(Method, String, Bytes)>::default();
    let log = seen.clone();
    let answer = any(async move |method: Method, uri: http::Uri, body: Bytes| {
        log.push((method, uri.path().to_owned(), body));
        if uri.path().ends_with("fail") { (http::StatusCode::CONFLICT, "no") } else { (http::StatusCode::OK, "done") }
    });
    let server = App::serve(Router::new().fallback(answer)).await;
    let url = format!("http://127.0.0.1:{}/base", server.port());
    let world = backend.builder().component("web", "bindings.http", &[("url", &url)]).start().await;
    let app = world.app("app").start().await;
    let web = app.dapr().binding("web");
    let answer = web.invoke("post").metadata("path", "/tea").json(&1).await.unwrap();
    assert_eq!((answer.bytes(), answer.metadata()["statusCode"].as_str()), (&b"done"[..], "200"));
    web.invoke("get").await.unwrap();
    assert!(web.invoke("get").metadata("path", "/fail").await.is_err());
    let seen: Vec<_> = seen.all().into_iter().map(|(method, path, body)| (method.to_string(), path, body)).collect();
    let expected = [("POST", "/base/tea", "1"), ("GET", "/base", ""), ("GET", "/base/fail", "")];
    assert_eq!(seen, expected.map(|(method, path, body)| (method.to_owned(), path.to_owned(), Bytes::from(body))));
}
