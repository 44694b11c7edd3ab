//! Input bindings: who wants them, and the calls.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use dapr::dapr::proto::runtime::v1::BindingEventRequest;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, header::CONTENT_TYPE};
use tonic::Status;

use super::{Binding, CronInput};
use crate::sidecar::app::App;
use crate::sidecar::app_channel::AppChannel;
use crate::sidecar::spans::OpenSpan;
use crate::sidecar::trace::{GRPC_TRACE_BIN, TRACEPARENT};
use crate::sidecar::{headers, method, trace};

/// How long an app may take to say what it wants (`dapr/dapr:pkg/runtime/processor/binding`).
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks the app which input bindings it wants, and starts those.
pub(in crate::sidecar) async fn run(app: &Arc<App>, channel: &Arc<AppChannel>) {
    let inputs = app.hub.bindings.iter().filter_map(|(name, binding)| match binding {
        Binding::Cron(cron) => Some((name, cron)),
        _ => None,
    });
    let mut listed = None;
    for (name, cron) in inputs {
        let route = cron.route.as_deref().unwrap_or(name).to_owned();
        let is_wanted = match channel.is_grpc() {
            _ if cron.is_wanted => true,
            true => {
                if listed.is_none() {
                    listed = Some(list(channel).await);
                }
                listed.as_ref().is_some_and(|names| names.contains(name))
            }
            false => is_wanted(channel, &route).await,
        };
        if is_wanted {
            app.tasks.spawn(tick(Arc::clone(app), Arc::clone(channel), name.clone(), route, cron.clone()));
        }
    }
}

/// Any error is an empty list, and so is no answer. As daprd, without the app's token.
async fn list(channel: &AppChannel) -> Vec<String> {
    let answer = tokio::time::timeout(PATIENCE, async { channel.callback().list_input_bindings(()).await }).await;
    let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")));
    answer.map(|answer| answer.into_inner().bindings).unwrap_or_default()
}

/// Any success, or a 405: the route is there.
async fn is_wanted(channel: &AppChannel, route: &str) -> bool {
    let Some(target) = method::route(route) else { return false };
    let asked = channel.send(Method::OPTIONS, target, HeaderMap::new(), bytes::Bytes::new());
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(response)) => response.status().is_success() || response.status() == http::StatusCode::METHOD_NOT_ALLOWED,
        Ok(Err(_)) | Err(_) => false,
    }
}

/// Calls the app at each moment of the schedule, whether it has answered the last call or not.
async fn tick(app: Arc<App>, channel: Arc<AppChannel>, name: String, route: String, cron: CronInput) {
    let clock = app.hub.clock;
    let Some(target) = method::route(&route) else { return };
    let mut now = clock.now();
    while let Some(next) = cron.schedule.next(now) {
        clock.sleep_until(next).await;
        now = clock.now();
        let (app, channel, name) = (Arc::clone(&app), Arc::clone(&channel), name.clone());
        let (route, target) = (route.clone(), target.clone());
        app.tasks.clone().spawn(async move {
            let method = if channel.is_grpc() { name.clone() } else { format!("POST /{route}") };
            let span = app.spans.start_binding(&name, &method);
            let mut headers = HeaderMap::new();
            if let Some(span) = &span {
                headers.insert(TRACEPARENT, trace::header(span.context()));
            }
            match channel.is_grpc() {
                true => send_grpc(&channel, &name, now, span, headers).await,
                false => send_http(&channel, &name, target, now, span, headers).await,
            }
        });
    }
}

async fn send_http(
    channel: &AppChannel,
    name: &str,
    target: PathAndQuery,
    at: DateTime<Utc>,
    span: Option<OpenSpan>,
    mut headers: HeaderMap,
) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("timezone", HeaderValue::from_static("UTC"));
    headers.insert("readtimeutc", headers::value(&go_time(at)));
    let sent = channel.send(Method::POST, target, headers, bytes::Bytes::new()).await;
    if let (Some(span), Ok(response)) = (span, &sent) {
        span.answered(response.status());
    }
    match sent {
        Ok(response) if response.status().is_success() => {}
        Ok(response) => tracing::warn!(name, status = response.status().as_u16(), "the app refused a binding event"),
        Err(error) => tracing::warn!(name, %error, "a binding event did not reach the app"),
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
    let metadata = [("timeZone".to_owned(), "UTC".to_owned()), ("readTimeUTC".to_owned(), go_time(at))];
    let event = BindingEventRequest { name: name.to_owned(), metadata: metadata.into(), ..Default::default() };
    let answer = channel.callback().on_binding_event(channel.call(event, headers)).await;
    if let Some(span) = span {
        span.ended(&answer);
    }
    if let Err(status) = answer {
        tracing::warn!(name, code = ?status.code(), "the app refused a binding event");
    }
}

/// As Go prints a moment: the fraction of the second ends in no zero.
fn go_time(at: DateTime<Utc>) -> String {
    let text = at.format("%Y-%m-%d %H:%M:%S%.9f").to_string();
    format!("{} +0000 UTC", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_printed_as_go_prints_them() {
        for (nanos, expected) in [
            (0, "2026-11-29 11:00:00 +0000 UTC"),
            (500_000_000, "2026-11-29 11:00:00.5 +0000 UTC"),
            (123_456_789, "2026-11-29 11:00:00.123456789 +0000 UTC"),
        ] {
            assert_eq!(go_time(DateTime::from_timestamp(1_795_950_000, nanos).unwrap()), expected);
        }
    }
}
