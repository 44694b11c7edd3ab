//! Input bindings: who wants them, and the calls.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use dapr::dapr::proto::runtime::v1::BindingEventRequest;
use http::{HeaderMap, HeaderValue, Method, header::CONTENT_TYPE};

use super::{Binding, CronInput};
use crate::sidecar::app::App;
use crate::sidecar::app_channel::AppChannel;
use crate::sidecar::spans::OpenSpan;
use crate::sidecar::trace::{GRPC_TRACE_BIN, TRACEPARENT};
use crate::sidecar::{headers, method, trace};

/// Asks the app which input bindings it wants, and starts those.
pub(in crate::sidecar) async fn run(app: &Arc<App>, channel: &Arc<AppChannel>) {
    if !app.hub.bindings.values().any(|binding| matches!(binding, Binding::Cron(_))) {
        return;
    }
    let listed = if channel.is_grpc() { list(channel).await } else { Vec::new() };
    for (name, binding) in &app.hub.bindings {
        let Binding::Cron(cron) = binding else { continue };
        let route = cron.route.as_deref().unwrap_or(name).to_owned();
        let is_wanted = match channel.is_grpc() {
            true => listed.contains(name),
            false => cron.is_wanted || is_wanted(channel, &route).await,
        };
        if is_wanted {
            app.tasks.spawn(tick(Arc::clone(app), Arc::clone(channel), name.clone(), route, cron.clone()));
        }
    }
}

/// Any error is an empty list. As daprd, without the app's token.
async fn list(channel: &AppChannel) -> Vec<String> {
    let answer = channel.callback().list_input_bindings(()).await;
    answer.map(|answer| answer.into_inner().bindings).unwrap_or_default()
}

/// Any success, or a 405: the route is there.
async fn is_wanted(channel: &AppChannel, route: &str) -> bool {
    let Some(target) = method::route(route) else { return false };
    match channel.send(Method::OPTIONS, target, HeaderMap::new(), bytes::Bytes::new()).await {
        Ok(response) => response.status().is_success() || response.status() == http::StatusCode::METHOD_NOT_ALLOWED,
        Err(_) => false,
    }
}

async fn tick(app: Arc<App>, channel: Arc<AppChannel>, name: String, route: String, cron: CronInput) {
    let clock = app.hub.clock;
    let Some(target) = method::route(&route) else { return };
    let mut last = clock.now();
    while let Some(next) = cron.schedule.next(last) {
        clock.sleep_until(next).await;
        last = next;
        let span =
            app.spans.start_binding(&name, &if channel.is_grpc() { name.clone() } else { format!("POST /{route}") });
        let mut headers = HeaderMap::new();
        if let Some(span) = &span {
            headers.insert(TRACEPARENT, trace::header(span.context()));
        }
        if channel.is_grpc() {
            send_grpc(&channel, &name, next, span, headers).await;
            continue;
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("timezone", HeaderValue::from_static("UTC"));
        headers.insert("readtimeutc", headers::value(&next.to_string()));
        let sent = channel.send(Method::POST, target.clone(), headers, bytes::Bytes::new()).await;
        if let (Some(span), Ok(response)) = (span, &sent) {
            span.answered(response.status());
        }
        match sent {
            Ok(response) if response.status().is_success() => {}
            Ok(response) => {
                tracing::warn!(name, status = response.status().as_u16(), "the app refused a binding event");
            }
            Err(error) => tracing::warn!(name, %error, "a binding event did not reach the app"),
        }
    }
}

async fn send_grpc(
    channel: &AppChannel,
    name: &str,
    at: DateTime<Utc>,
    span: Option<OpenSpan>,
    mut headers: HeaderMap,
) {
    if let Some(span) = &span {
        headers.insert(GRPC_TRACE_BIN, trace::binary_header(span.context()));
    }
    let metadata = [("timeZone".to_owned(), "UTC".to_owned()), ("readTimeUTC".to_owned(), at.to_string())];
    let event = BindingEventRequest { name: name.to_owned(), metadata: metadata.into(), ..Default::default() };
    let answer = channel.callback().on_binding_event(channel.call(event, headers)).await;
    if let Some(span) = span {
        span.ended(&answer);
    }
    if let Err(status) = answer {
        tracing::warn!(name, code = ?status.code(), "the app refused a binding event");
    }
}
