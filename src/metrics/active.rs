use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use opentelemetry::{
    KeyValue,
    metrics::{Meter, UpDownCounter},
};

use super::key::scheme;
use crate::semconv;

/// `http.server.active_requests`.
///
/// Counted here, and handed to the instrument each time it is collected: two additions to a number cost a call next to
/// nothing, two to an instrument with attributes more than all the rest. The sum at each collection is the same, also
/// where several layers share a provider.
#[derive(Debug)]
pub(super) struct Active {
    /// By method and scheme.
    slots: [Slot; semconv::METHODS.len() * 2],
}

#[derive(Debug, Default)]
struct Slot {
    /// Since the last collection.
    change: AtomicI64,
    /// A count that came back to zero is told too.
    is_used: AtomicBool,
}

// ===== impl Active =====

impl Active {
    /// Begins to count; `None` if nothing listens.
    ///
    /// The API has no question for that, but an answer: a provider keeps the callback of an observable instrument, and
    /// OpenTelemetry's no-op one drops it. The callback observes nothing, so nothing is exported of that instrument.
    pub(super) fn start(meter: &Meter, instrument: Option<UpDownCounter<i64>>) -> Option<Arc<Self>> {
        let active = Arc::new(Self { slots: Default::default() });
        let counted = active.clone();
        let _kept_by_the_provider = meter
            .u64_observable_gauge("tower_dapr.collection")
            .with_callback(move |_| {
                if let Some(instrument) = &instrument {
                    counted.collect(instrument);
                }
            })
            .build();
        (Arc::strong_count(&active) > 1).then_some(active)
    }

    /// One more, or one less, of the method and scheme with this number.
    pub(super) fn add(&self, at: usize, change: i64) {
        if let Some(slot) = self.slots.get(at) {
            slot.change.fetch_add(change, Ordering::Relaxed);
            if !slot.is_used.load(Ordering::Relaxed) {
                slot.is_used.store(true, Ordering::Relaxed);
            }
        }
    }

    fn collect(&self, instrument: &UpDownCounter<i64>) {
        for (at, slot) in self.slots.iter().enumerate().filter(|(_, slot)| slot.is_used.load(Ordering::Relaxed)) {
            let attributes = [
                KeyValue::new(semconv::HTTP_METHOD, semconv::METHODS[at / 2]),
                KeyValue::new(semconv::URL_SCHEME, scheme(at % 2 == 1)),
            ];
            instrument.add(slot.change.swap(0, Ordering::Relaxed), &attributes);
        }
    }
}
