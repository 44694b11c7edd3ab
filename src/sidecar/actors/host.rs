//! The actors that one app hosts: active from their first call until they are idle, have to move, or the sidecar stops.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::settings::{Settings, Types};
use super::timers::Timers;
use super::turns::{Refused, Turn, Turns};
use super::{Key, placement};
use crate::sidecar::app::App;
use crate::sidecar::lock::lock;
use crate::sidecar::method;

/// Active at the same time, in one app. daprd has no limit.
pub(super) const MAX_ACTIVE: usize = 10_000;
/// An app that does not answer the deactivation of its actors is left behind after this.
const DEACTIVATION: Duration = Duration::from_secs(5);
/// Deactivations under way at the same time.
const CONCURRENT: usize = 64;

#[derive(Debug, Default)]
pub(in crate::sidecar) struct Host {
    /// `None` until the app was asked.
    types: watch::Sender<Option<Arc<Types>>>,
    active: Mutex<Active>,
    pub(super) timers: Timers,
}

#[derive(Debug, Default)]
struct Active {
    actors: HashMap<Key, Arc<Actor>>,
    /// The sidecar stops: no further actor is activated.
    closing: bool,
}

/// An active actor.
#[derive(Debug)]
pub(super) struct Actor {
    pub(super) key: Key,
    pub(super) settings: Settings,
    pub(super) turns: Arc<Turns>,
    touched: Mutex<Instant>,
    /// Its deactivation or its sidecar is over; another call may activate it again.
    gone: CancellationToken,
}

// ===== impl Host =====

impl Host {
    pub(in crate::sidecar) async fn registered(&self) {
        // Cannot fail: `self` holds the sender.
        let _ = self.types.subscribe().wait_for(Option::is_some).await;
    }

    pub(in crate::sidecar) fn is_registered(&self) -> bool {
        self.types.borrow().is_some()
    }

    pub(in crate::sidecar) fn hosts(&self, kind: &str) -> bool {
        self.types.borrow().as_ref().is_some_and(|types| types.contains_key(kind))
    }

    /// Whether actors of this type are activated here: the sidecar does not stop.
    pub(super) fn takes(&self, kind: &str) -> bool {
        self.hosts(kind) && !lock(&self.active).closing
    }

    pub(in crate::sidecar) fn is_active(&self, key: &Key) -> bool {
        lock(&self.active).actors.contains_key(key)
    }

    /// The actor as another app still has it, whence it moves.
    pub(super) fn elsewhere(app: &Arc<App>, key: &Key) -> Option<Arc<Actor>> {
        let others = app.hub.apps().into_iter().filter(|other| !Arc::ptr_eq(other, app));
        others.into_iter().find_map(|other| lock(&other.host.active).actors.get(key).cloned())
    }

    /// How many actors of each hosted type are active.
    pub(in crate::sidecar) fn counts(&self) -> BTreeMap<String, usize> {
        let types = self.types.borrow().clone().unwrap_or_default();
        let mut counts: BTreeMap<_, _> = types.keys().map(|kind| (kind.clone(), 0)).collect();
        for key in lock(&self.active).actors.keys() {
            *counts.entry(key.kind.clone()).or_default() += 1;
        }
        counts
    }

    /// The app hosts these types from now on. What other apps have of them and is not theirs any more moves.
    pub(in crate::sidecar) fn register(app: &Arc<App>, types: Types) {
        let is_host = !types.is_empty();
        app.host.types.send_replace(Some(Arc::new(types)));
        if !is_host {
            return;
        }
        for other in app.hub.apps().into_iter().filter(|other| !Arc::ptr_eq(other, app)) {
            for actor in other.host.all().into_iter().filter(|actor| !placement::is_owner(&other, &actor.key)) {
                let host = Arc::clone(&other);
                other.tasks.spawn(async move { evict(&host, &actor).await });
            }
        }
        app.hub.hosts_changed.send_modify(|count| *count += 1);
    }

    /// Deactivates all actors, and no other is activated.
    pub(in crate::sidecar) async fn drain(app: &Arc<App>) {
        lock(&app.host.active).closing = true;
        let actors = app.host.all();
        let patience = actors.iter().map(|actor| actor.settings.drain_timeout).max().unwrap_or_default() + DEACTIVATION;
        let all = stream::iter(actors).for_each_concurrent(CONCURRENT, |actor| async move { evict(app, &actor).await });
        if tokio::time::timeout(patience, all).await.is_err() {
            tracing::warn!(app_id = app.id, "the app did not answer the deactivation of all its actors");
        }
    }

    /// The actor, active from now on.
    pub(super) fn activate(app: &Arc<App>, key: &Key) -> Result<Arc<Actor>, Refused> {
        let settings = app.host.types.borrow().as_ref().and_then(|types| types.get(&key.kind).copied());
        let mut active = lock(&app.host.active);
        if let Some(actor) = active.actors.get(key) {
            return Ok(Arc::clone(actor));
        }
        let Some(settings) = settings.filter(|_| !active.closing) else { return Err(Refused::Closed) };
        if active.actors.len() >= MAX_ACTIVE {
            return Err(Refused::TooManyActive);
        }
        let actor = Arc::new(Actor {
            key: key.clone(),
            settings,
            turns: Turns::new(settings.reentrancy),
            touched: Mutex::new(Instant::now()),
            gone: CancellationToken::new(),
        });
        active.actors.insert(key.clone(), Arc::clone(&actor));
        drop(active);
        // Held also by a task that never starts, because the sidecar is gone.
        let gone = actor.gone.clone().drop_guard();
        app.tasks.spawn(rest(Arc::clone(app), Arc::clone(&actor), gone));
        Ok(actor)
    }

    fn all(&self) -> Vec<Arc<Actor>> {
        lock(&self.active).actors.values().cloned().collect()
    }

    fn forget(&self, actor: &Arc<Actor>) {
        let mut active = lock(&self.active);
        if active.actors.get(&actor.key).is_some_and(|current| Arc::ptr_eq(current, actor)) {
            active.actors.remove(&actor.key);
        }
    }
}

// ===== impl Actor =====

impl Actor {
    /// It is used: its idle time starts again.
    pub(super) fn touch(&self) {
        *lock(&self.touched) = Instant::now();
    }

    pub(super) async fn gone(&self) {
        self.gone.cancelled().await;
    }

    fn idle_at(&self) -> Instant {
        *lock(&self.touched) + self.settings.idle_timeout.min(Duration::from_secs(u32::MAX.into()))
    }
}

/// Deactivates an actor when it is idle. Unlike daprd 1.18.2, never during a call. Ends no sooner than the actor does.
async fn rest(app: Arc<App>, actor: Arc<Actor>, _gone: DropGuard) {
    loop {
        let turn = tokio::select! {
            () = tokio::time::sleep_until(actor.idle_at()) => actor.turns.enter(None, usize::MAX).await,
            () = actor.turns.closed() => Err(Refused::Closed),
        };
        let Ok(turn) = turn else { return actor.gone().await };
        if actor.idle_at() <= Instant::now() {
            deactivate(&app, &actor, Some(turn)).await;
            return;
        }
    }
}

/// Deactivates an actor that has to leave, with patience for the call under way.
async fn evict(app: &Arc<App>, actor: &Arc<Actor>) {
    match tokio::time::timeout(actor.settings.drain_timeout, actor.turns.enter(None, usize::MAX)).await {
        Ok(Ok(turn)) => deactivate(app, actor, Some(turn)).await,
        // Somebody else deactivates it.
        Ok(Err(_)) => actor.gone().await,
        Err(_) => {
            actor.turns.close();
            deactivate(app, actor, None).await;
        }
    }
}

/// The same for an actor that was activated while its type moved. Goes on when the caller gives up.
pub(super) fn send_away(app: Arc<App>, actor: Arc<Actor>, turn: Turn) {
    let tasks = app.tasks.clone();
    tasks.spawn(async move { deactivate(&app, &actor, Some(turn)).await });
}

/// Tells the app. Calls that wait are not answered by this actor, but by its next activation.
async fn deactivate(app: &App, actor: &Arc<Actor>, turn: Option<Turn>) {
    let _gone = actor.gone.clone().drop_guard();
    app.host.timers.stop_all(&actor.key);
    if let Err(reason) = tell(app, &actor.key).await {
        tracing::warn!(app_id = app.id, actor = %actor.key, reason, "the app did not deactivate an actor");
    }
    app.host.forget(actor);
    actor.turns.close();
    drop(turn);
}

async fn tell(app: &App, key: &Key) -> Result<(), String> {
    let channel = app.channel.as_ref().ok_or("it has no port")?;
    let target = method::target(&format!("actors/{}/{}", key.kind, key.id), "").ok_or("its name is not a path")?;
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"))]);
    let answer = channel.send(Method::DELETE, target, headers, Bytes::new()).await;
    match answer.map_err(|error| error.to_string())?.status() {
        StatusCode::OK => Ok(()),
        status => Err(format!("it answered {}", status.as_u16())),
    }
}
