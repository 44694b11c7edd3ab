//! The app that was recorded, or what can be seen of it.

use axum::{
    Router,
    extract::Request,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::recordings::{Traces, delivery, traces};
use crate::real::App;

pub fn subscriptions() -> Value {
    let topics = ["orders", "flaky", "drop", "poison"];
    let mut list: Vec<_> = topics
        .iter()
        .map(|topic| json!({"pubsubname": "pubsub", "topic": topic, "route": format!("/{topic}")}))
        .collect();
    list.extend([
        json!({"pubsubname": "pubsub", "topic": "raw", "route": "/raw", "metadata": {"rawPayload": "true"}}),
        json!({"pubsubname": "pubsub", "topic": "dead", "route": "/dead", "deadLetterTopic": "poison"}),
        json!({"pubsubname": "pubsub", "topic": "routed", "routes": {
            "rules": [{"match": "event.type == \"a\"", "path": "/routed-a"}], "default": "/routed-default"}}),
        json!({"pubsubname": "pubsub", "topic": "bulk", "route": "/bulk",
            "bulkSubscribe": {"enabled": true, "maxMessagesCount": 3, "maxAwaitDurationMs": 30000}}),
    ]);
    Value::from(list)
}

/// The app that was recorded, or what can be seen of it.
pub async fn app(sender: mpsc::UnboundedSender<(Value, Traces)>, subscriptions: &str) -> App {
    let subscriptions = subscriptions.to_owned();
    let router = Router::new().fallback(move |request: Request| {
        let (sender, subscriptions) = (sender.clone(), subscriptions.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let headers = || parts.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
            let path = parts.uri.path_and_query().unwrap().as_str();
            let text = std::str::from_utf8(&body).unwrap();
            let traces = traces(headers(), text);
            let _ = sender.send((delivery(parts.method.as_str(), path, headers(), text), traces));
            app_answer(path, &subscriptions, &body)
        }
    });
    App::serve(router).await
}

fn app_answer(path: &str, subscriptions: &str, body: &Bytes) -> Response {
    let json = [("content-type", "application/json"), ("server", "BaseHTTP/0.6 Python/3.11.7")];
    match path {
        "/dapr/config" => (json, r#"{"entities":[]}"#).into_response(),
        "/dapr/subscribe" => (json, subscriptions.to_owned()).into_response(),
        "/fail" => (StatusCode::SERVICE_UNAVAILABLE, json, r#"{"oops":1}"#).into_response(),
        "/drop" => (StatusCode::NOT_FOUND, json).into_response(),
        "/flaky" | "/dead" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        "/bulk" => {
            let bulk: Value = serde_json::from_slice(body).unwrap();
            let entries = bulk["entries"].as_array().unwrap().iter();
            let statuses: Vec<_> =
                entries.map(|entry| json!({"entryId": entry["entryId"], "status": "SUCCESS"})).collect();
            (json, json!({ "statuses": statuses }).to_string()).into_response()
        }
        path if path.starts_with("/echo") => {
            let mut response = (json, r#"{"got":1}"#).into_response();
            response.headers_mut().insert("x-app", "yes".parse().unwrap());
            response
        }
        _ => json.into_response(),
    }
}
