use std::sync::Arc;

use opentelemetry::metrics::Meter;

use super::{
    active::Active,
    instruments::Instruments,
    key::Key,
    layer::Settings,
    series::{ResultSeries, Series, Table},
};
use crate::{classify::Side, intern::Names};

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
    pub(super) active: Arc<Active>,
}

// ===== impl Shared =====

impl Shared {
    /// `None` if nothing listens.
    pub(super) fn new(settings: Settings, meter: &Meter) -> Option<Self> {
        let instruments = Instruments::of(meter, settings.side);
        Some(Self {
            active: Active::start(meter, instruments.active.clone())?,
            instruments,
            names: Names::new(settings.max_names),
            published: Names::new(settings.max_names),
            methods: Names::new(settings.max_names),
            servers: Names::new(settings.max_names),
            routes: Names::new(MAX_ROUTES),
            table: Table::new(),
            settings,
        })
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

    /// The kind of call that stands there.
    pub(super) fn series(&self, at: usize) -> Option<&Series> {
        self.table.get(at)
    }

    pub(super) fn record_sizes(&self, series: &ResultSeries, request: Option<u64>, response: u64) {
        if let Some(request) = request {
            self.instruments.request_size.record(request, &series.attributes);
        }
        self.instruments.response_size.record(response, &series.attributes);
    }
}
