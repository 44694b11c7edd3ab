//! Calls of actors (`dapr/dapr:pkg/actors/router`, `pkg/actors/targets/app`).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use hyper::body::Incoming;
use uuid::Uuid;

use super::host::{self, Actor, Host};
use super::turns::{Refused, Turn};
use super::{Key, placement};
use crate::sidecar::app::App;
use crate::sidecar::app_channel::AppChannel;
use crate::sidecar::grpc::MAX_MESSAGE;
use crate::sidecar::hub::HubState;
use crate::sidecar::trace::TRACEPARENT;
use crate::sidecar::truth::is_truthy;
use crate::sidecar::{headers, method, trace};

/// daprd's built-in retry where no app hosts an actor.
const LOOKUPS: u32 = 5;
const LOOKUP_PAUSE: Duration = Duration::from_secs(1);
/// Calls that wait for their turn with one actor. daprd has no limit.
const MAX_WAITING: usize = 1024;
/// What an app says to its failure is cut to this: it has to fit into a header.
const MAX_REASON: usize = 2048;

const REENTRANCY_ID: &str = "dapr-reentrancy-id";
const ERROR: &str = "x-daprerrorresponseheader";
const CANCEL: &str = "x-daprremindercancel";

/// A call of a method.
pub(in crate::sidecar) struct Invocation {
    pub(in crate::sidecar) key: Key,
    pub(in crate::sidecar) method: String,
    pub(in crate::sidecar) query: String,
    /// As the app gets them.
    pub(in crate::sidecar) headers: HeaderMap,
    pub(in crate::sidecar) body: Bytes,
}

/// What the actor said. An error that it marks as such in a header is an answer.
#[derive(Debug)]
pub(in crate::sidecar) struct Answer {
    pub(in crate::sidecar) headers: HeaderMap,
    pub(in crate::sidecar) body: Bytes,
    /// It cancels the timer or the reminder that called.
    pub(super) cancels: bool,
}

#[derive(Debug)]
pub(in crate::sidecar) struct Failure {
    pub(in crate::sidecar) kind: FailureKind,
    /// It happened at the sidecar of another app.
    pub(in crate::sidecar) is_remote: bool,
}

#[derive(Debug)]
pub(in crate::sidecar) enum FailureKind {
    NoHost(Key),
    TooDeep,
    /// A limit that daprd does not have.
    Limit(String),
    Actor(String),
}

/// The turn of a call.
pub(super) struct Entered {
    host: Arc<App>,
    actor: Arc<Actor>,
    reentrancy_id: Option<String>,
    /// Over when this is dropped.
    _turn: Turn,
}

/// Calls a method, once it is its turn.
pub(in crate::sidecar) async fn invoke(app: &Arc<App>, mut invocation: Invocation) -> Result<Answer, Failure> {
    let given = invocation.headers.get(REENTRANCY_ID).and_then(|id| id.to_str().ok()).map(ToOwned::to_owned);
    let given = given.unwrap_or_else(|| Uuid::new_v4().to_string());
    let entered = enter(&app.hub, &invocation.key, Some(given)).await?;
    let is_remote = !Arc::ptr_eq(&entered.host, app);
    let own = &mut invocation.headers;
    own.insert("dapr-api-call", HeaderValue::from_static("true"));
    // daprd tells the id of the host, also where another app calls.
    own.insert("dapr-caller-app-id", headers::value(&entered.host.id));
    own.insert("dapr-caller-namespace", HeaderValue::from_static("default"));
    if is_remote {
        own.insert("x-dapr-remote", HeaderValue::from_static("true"));
    }
    if let Some(id) = &entered.reentrancy_id {
        own.insert(REENTRANCY_ID, headers::value(id));
    }
    let failed = |reason: String| Failure { kind: FailureKind::Actor(reason), is_remote };
    let answer = entered.send(&invocation).await.map_err(failed)?;
    match answer.cancels {
        true => Err(failed("reminder has been canceled".to_owned())),
        false => Ok(answer),
    }
}

/// Waits for a turn with an actor, which is active from then on.
pub(super) async fn enter(hub: &Arc<HubState>, key: &Key, given: Option<String>) -> Result<Entered, Failure> {
    let failure = |kind| Failure { kind, is_remote: false };
    let mut lookups = 0;
    loop {
        let Some(host) = placement::owner(hub, key) else {
            if lookups == LOOKUPS {
                return Err(failure(FailureKind::NoHost(key.clone())));
            }
            lookups += 1;
            tokio::time::sleep(LOOKUP_PAUSE).await;
            continue;
        };
        if let Some(actor) = Host::elsewhere(&host, key) {
            actor.gone().await;
            continue;
        }
        let actor = match Host::activate(&host, key) {
            Ok(actor) => actor,
            Err(Refused::Closed) => {
                // It stops, and will be found no more.
                tokio::task::yield_now().await;
                continue;
            }
            Err(refused) => return Err(failure(refused.into())),
        };
        let reentrancy_id = given.clone().filter(|_| actor.settings.reentrancy.is_some());
        match actor.turns.enter(reentrancy_id.as_deref(), MAX_WAITING).await {
            Ok(turn) if placement::is_owner(&host, key) => {
                actor.touch();
                return Ok(Entered { host, actor, reentrancy_id, _turn: turn });
            }
            Ok(turn) => host::send_away(Arc::clone(&host), Arc::clone(&actor), turn),
            Err(Refused::Closed) => {}
            Err(refused) => return Err(failure(refused.into())),
        }
        actor.gone().await;
    }
}

// ===== impl Entered =====

impl Entered {
    /// A call of the sidecar itself: a timer or a reminder.
    pub(super) async fn remind(&self, name: &str, body: Bytes) -> Result<Answer, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(TRACEPARENT, trace::header(None));
        let key = self.actor.key.clone();
        let invocation = Invocation { key, method: name.to_owned(), query: String::new(), headers, body };
        let failed = |reason| Failure { kind: FailureKind::Actor(reason), is_remote: false };
        self.send(&invocation).await.map_err(failed)
    }

    async fn send(&self, invocation: &Invocation) -> Result<Answer, String> {
        let Invocation { key, method, query, headers, body } = invocation;
        let path = format!("actors/{}/{}/method/{method}", key.kind, key.id);
        let path = path.trim_end_matches('/');
        let channel = self.host.channel.as_ref().ok_or("app channel is not initialized")?;
        let target = method::target(path, query).ok_or("the method is not a path")?;
        let exchange = async {
            let response = channel.send(Method::PUT, target, headers.clone(), body.clone()).await;
            read(path, response.map_err(|error| error.to_string())?).await
        };
        tokio::select! {
            answer = exchange => answer,
            () = self.actor.turns.closed() => Err(format!("actor is closed, cannot handle {method}")),
        }
    }
}

async fn read(path: &str, response: Response<Incoming>) -> Result<Answer, String> {
    let (mut parts, body) = response.into_parts();
    let body = AppChannel::read(body, MAX_MESSAGE).await.map_err(|error| error.to_string())?;
    match parts.status {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Err(format!("actor method not found: {path}")),
        status => {
            let reason = String::from_utf8_lossy(&body[..body.len().min(MAX_REASON)]);
            return Err(format!("error from actor service: ({}) {reason}", status.as_u16()));
        }
    }
    let is_error = parts.headers.contains_key(ERROR);
    let cancels = parts.headers.get(CANCEL).is_some_and(|value| value.to_str().is_ok_and(is_truthy));
    headers::remove_hop_by_hop(&mut parts.headers);
    parts.headers.remove(CONTENT_LENGTH);
    Ok(Answer { headers: parts.headers, body, cancels: cancels && !is_error })
}

// ===== impl FailureKind =====

impl From<Refused> for FailureKind {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::TooDeep => Self::TooDeep,
            Refused::TooManyWait => Self::Limit(format!("{MAX_WAITING} calls wait for this actor already")),
            Refused::TooManyActive => Self::Limit(format!("the app has {} active actors already", host::MAX_ACTIVE)),
            Refused::Closed => Self::Actor("actor is closed".to_owned()),
        }
    }
}

/// As daprd says it.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            FailureKind::NoHost(Key { kind, id }) => write!(
                f,
                "failed to lookup actor: api error: code = FailedPrecondition desc = did not find address for actor \
                 '{kind}/{id}'"
            ),
            FailureKind::TooDeep => f.write_str("maximum stack depth exceeded"),
            FailureKind::Limit(reason) | FailureKind::Actor(reason) => f.write_str(reason),
        }
    }
}
