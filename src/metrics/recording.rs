use std::sync::{Arc, OnceLock};

use axum::extract::MatchedPath;
use http::{Version, header::CONTENT_LENGTH};
use opentelemetry::KeyValue;

use super::{
    key::Key,
    series::{CallResult, Series},
    shared::Shared,
};
use crate::{
    classify::{Outcome, Protocol, Side},
    intern::Name,
    observe::{Call, End, Recording, RequestWatch, ResponseHead},
    rpc::{Names, Streaming, bulk},
    semconv::method_of_path,
};

/// What is measured of one exchange.
#[derive(Debug)]
pub struct MetricsRecording {
    shared: Arc<Shared>,
    kind: Kind,
    /// Counted as active under this number, to be taken back.
    active: Option<u8>,
    response_size: u64,
    /// A recording moves with the future and the body: what most calls do not have is not carried along.
    rare: Option<Box<Rare>>,
}

/// What a call is measured by.
#[derive(Debug)]
enum Kind {
    /// It stands in the table.
    At(u32),
    /// There was no room for it.
    Own(Box<Key>),
}

#[derive(Debug, Default)]
struct Rare {
    /// A server's path that stands in no table: known to be a method only once the router did not refuse it.
    unproven_method: Option<String>,
    /// The names in a stream's first message, once it has passed.
    late: Option<Late>,
    /// Of a publish.
    messages: u64,
    request_size: Option<u64>,
    /// The user's own.
    attributes: Vec<KeyValue>,
}

type Late = Arc<OnceLock<(Option<String>, Option<String>)>>;

// ===== impl Kind =====

impl Kind {
    fn of(key: Key, shared: &Shared) -> Self {
        match shared.find(&key).and_then(|at| u32::try_from(at).ok()) {
            Some(at) => Self::At(at),
            None => Self::Own(Box::new(key)),
        }
    }

    /// Runs `record` with the series, which stand in the table or are made for this once.
    fn with<T>(&self, shared: &Shared, record: impl FnOnce(&Series) -> T) -> Option<T> {
        match self {
            Self::At(at) => shared.series(*at as usize).map(record),
            Self::Own(key) => Some(record(&Series::new(**key, shared))),
        }
    }
}

// ===== impl MetricsRecording =====

impl MetricsRecording {
    pub(super) fn new(shared: &Arc<Shared>, call: &Call<'_>) -> Self {
        // The user's code first: if it panics, nothing has been counted yet.
        let attributes = shared.settings.request_attributes.as_ref().map_or_else(Vec::new, |hook| hook(call.request));
        let key = Key::of(shared, call);
        let active = (call.protocol == Protocol::Http && shared.side() == Side::Server).then(|| key.active());
        if let Some(active) = active {
            shared.active.add(active.into(), 1);
        }
        let rare = Rare::of(shared, call, &key, attributes);
        Self { kind: Kind::of(key, shared), active, response_size: 0, rare, shared: shared.clone() }
    }

    /// Something became known about the call that it is measured by.
    fn change(&mut self, change: impl FnOnce(&Shared, &mut Key)) {
        let Some(mut key) = self.kind.with(&self.shared, |series| series.key) else { return };
        change(&self.shared, &mut key);
        self.kind = Kind::of(key, &self.shared);
    }

    fn learn_method(&mut self, outcome: &Outcome) {
        let Some(method) = self.rare.as_mut().and_then(|rare| rare.unproven_method.take()) else { return };
        let is_proof = outcome.proves_method();
        self.change(|shared, key| {
            key.parts.method = Some(if is_proof { shared.methods.number(&method, "") } else { Name::OTHER });
        });
    }

    /// A client learns the version of HTTP from the answer: the request's own says what was asked for.
    fn learn_version(&mut self, version: Option<Version>) {
        let differs = |series: &Series| {
            let parts = &series.key.parts;
            parts.protocol == Protocol::Http && parts.version != version
        };
        if self.shared.side() == Side::Client && self.kind.with(&self.shared, differs) == Some(true) {
            self.change(|_, key| key.parts.version = version);
        }
    }

    fn learn_names(&mut self) {
        let Some(late) = self.rare.as_mut().and_then(|rare| rare.late.take()) else { return };
        if let Some((component, destination)) = late.get() {
            let names = Names { component: component.as_deref(), destination: destination.as_deref() };
            self.change(|shared, key| key.set_names(shared, &names));
        }
    }
}

// ===== impl Rare =====

impl Rare {
    fn of(shared: &Shared, call: &Call<'_>, key: &Key, attributes: Vec<KeyValue>) -> Option<Box<Self>> {
        let is_http = call.protocol == Protocol::Http;
        let is_unproven = shared.side() == Side::Server && !is_http && call.rpc.is_none() && key.parts.method.is_none();
        let is_late = shared.side() == Side::Client
            && call.rpc.is_some_and(|rpc| rpc.streaming() != Streaming::Unary && !rpc.component_field().is_empty())
            && call.names.component.is_none();
        let is_sized = is_http && shared.settings.body_sizes;
        let is_rare = is_unproven || is_late || is_sized || key.is_publish() || !attributes.is_empty();
        is_rare.then(|| {
            Box::new(Self {
                unproven_method: method_of_path(call.uri().path()).filter(|_| is_unproven).map(str::to_owned),
                late: is_late.then(Late::default),
                messages: call
                    .rpc
                    .zip(call.first_message)
                    .and_then(|(rpc, frame)| bulk::entries(rpc, frame))
                    .unwrap_or(1),
                request_size: if is_sized { content_length(call) } else { None },
                attributes,
            })
        })
    }
}

impl Recording for MetricsRecording {
    type Scope = ();

    fn enter(&self) {}

    fn head(&mut self, head: &ResponseHead<'_>) {
        // A layer outside of the router is told by `RouteLayer` inside of it.
        if self.active.is_some()
            && let Some(route) = head.extensions.get::<MatchedPath>()
        {
            self.change(|shared, key| key.parts.route = Some(shared.routes.number(route.as_str(), "")));
        }
        self.learn_version(Some(head.version));
    }

    fn data(&mut self, bytes: usize) {
        self.response_size = self.response_size.saturating_add(bytes as u64);
    }

    fn watch_request(&mut self) -> Option<RequestWatch> {
        let late = self.rare.as_ref()?.late.clone()?;
        let rpc = self.kind.with(&self.shared, |series| series.key.rpc)??;
        Some(Box::new(move |data| {
            late.get_or_init(|| {
                let names = Names::read(rpc, data);
                (names.component.map(str::to_owned), names.destination.map(str::to_owned))
            });
        }))
    }

    fn end(mut self, end: &End<'_>) {
        self.learn_method(end.outcome);
        if end.outcome.http_status().is_none() {
            self.learn_version(None);
        }
        self.learn_names();
        let (shared, seconds) = (&*self.shared, end.elapsed.as_secs_f64());
        let result = CallResult::of(end.outcome);
        self.kind.with(shared, |series| {
            series.with(result, shared, |series| match &self.rare {
                None => series.record(seconds, 1),
                Some(rare) if rare.attributes.is_empty() => series.record(seconds, rare.messages),
                Some(rare) => series.record_with(shared, seconds, rare.messages, &rare.attributes),
            });
            if shared.settings.body_sizes && end.outcome.protocol() == Protocol::Http {
                let request = self.rare.as_ref().and_then(|rare| rare.request_size);
                series.with(result, shared, |series| shared.record_sizes(series, request, self.response_size));
            }
        });
    }
}

/// However it is dropped: what was counted as active is not any more.
impl Drop for MetricsRecording {
    fn drop(&mut self) {
        if let Some(active) = self.active {
            self.shared.active.add(active.into(), -1);
        }
    }
}

/// The body's length as the request says it.
fn content_length(call: &Call<'_>) -> Option<u64> {
    call.request.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
