use opentelemetry::{KeyValue, metrics::Meter};

use super::{
    instruments::Instruments,
    key::{Key, scheme},
    layer::Settings,
    series::{ResultSeries, Series, Table},
};
use crate::{classify::Side, intern::Names, semconv};

/// The routes of an app stand in its code: this many are enough for any.
const MAX_ROUTES: usize = 1024;

/// What all clones of a layer record with.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) instruments: Instruments,
    pub(super) names: Names,
    pub(super) published: Names,
    pub(super) methods: Names,
    pub(super) routes: Names,
    pub(super) servers: Names,
    table: Table,
    /// Of `http.server.active_requests`, by method and scheme.
    active: Vec<[KeyValue; 2]>,
}

// ===== impl Shared =====

impl Shared {
    pub(super) fn new(settings: Settings, meter: &Meter) -> Self {
        let active = |method: &&'static str| {
            [false, true].map(|https| {
                [KeyValue::new(semconv::HTTP_METHOD, *method), KeyValue::new(semconv::URL_SCHEME, scheme(https))]
            })
        };
        Self {
            instruments: Instruments::of(meter, settings.side),
            names: Names::new(settings.max_names),
            published: Names::new(settings.max_names),
            methods: Names::new(settings.max_names),
            servers: Names::new(settings.max_names),
            routes: Names::new(MAX_ROUTES),
            table: Table::new(),
            active: semconv::METHODS.iter().flat_map(active).collect(),
            settings,
        }
    }

    pub(super) fn side(&self) -> Side {
        self.settings.side
    }

    pub(super) fn has_server(&self) -> bool {
        self.settings.server.is_some()
    }

    /// Where a kind of call stands in the table; `None` if there is no room for it.
    pub(super) fn find(&self, key: &Key) -> Option<usize> {
        self.table.find(key, self)
    }

    /// Runs `record` with a kind of call, which stands in the table or is made for this once.
    pub(super) fn with_series(&self, key: &Key, at: Option<usize>, record: impl FnOnce(&Series)) {
        match at.and_then(|at| self.table.get(at)) {
            Some(series) => record(series),
            None => record(&Series::new(*key, self)),
        }
    }

    /// One active request more or less.
    pub(super) fn add_active(&self, key: &Key, change: i64) {
        let at = usize::from(key.parts.http_method) * 2 + usize::from(key.parts.https);
        if let (Some(active), Some(attributes)) = (&self.instruments.active, self.active.get(at)) {
            active.add(change, attributes);
        }
    }

    pub(super) fn record_sizes(&self, series: &ResultSeries, request: Option<u64>, response: u64) {
        if let Some(request) = request {
            self.instruments.request_size.record(request, &series.attributes);
        }
        self.instruments.response_size.record(response, &series.attributes);
    }
}
