//! Input bindings: who wants them, and the calls.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, header::CONTENT_TYPE};

use super::{Binding, CronInput};
use crate::sidecar::app::App;
use crate::sidecar::app_channel::AppChannel;
use crate::sidecar::{headers, method};

/// Asks the app which input bindings it wants, and starts those.
pub(in crate::sidecar) async fn run(app: &Arc<App>, channel: &Arc<AppChannel>) {
    for (name, binding) in &app.hub.bindings {
        let Binding::Cron(cron) = binding else { continue };
        let route = cron.route.as_deref().unwrap_or(name).to_owned();
        if cron.is_wanted || is_wanted(channel, &route).await {
            app.tasks.spawn(tick(Arc::clone(app), Arc::clone(channel), name.clone(), route, cron.clone()));
        }
    }
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
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("timezone", HeaderValue::from_static("UTC"));
        headers.insert("readtimeutc", headers::value(&next.to_string()));
        match channel.send(Method::POST, target.clone(), headers, bytes::Bytes::new()).await {
            Ok(response) if response.status().is_success() => {}
            Ok(response) => {
                tracing::warn!(name, status = response.status().as_u16(), "the app refused a binding event");
            }
            Err(error) => tracing::warn!(name, %error, "a binding event did not reach the app"),
        }
    }
}
