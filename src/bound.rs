//! An instrument with its attributes, resolved once: a bound instrument of OpenTelemetry's with the feature
//! `bound-instruments`, else the instrument and a list that is kept.

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Histogram},
};

#[cfg(not(feature = "bound-instruments"))]
mod kept {
    use super::*;

    #[derive(Debug)]
    pub(crate) struct Series<I> {
        instrument: I,
        attributes: Box<[KeyValue]>,
    }

    impl<I: Clone> Series<I> {
        pub(crate) fn new(instrument: &I, attributes: &[KeyValue]) -> Self {
            Self { instrument: instrument.clone(), attributes: attributes.into() }
        }
    }

    pub(crate) type Duration = Series<Histogram<f64>>;
    pub(crate) type Count = Series<Counter<u64>>;
    pub(crate) type Level = Series<Gauge<u64>>;

    impl Duration {
        pub(crate) fn record(&self, value: f64) {
            self.instrument.record(value, &self.attributes);
        }
    }

    impl Count {
        pub(crate) fn add(&self, value: u64) {
            self.instrument.add(value, &self.attributes);
        }
    }

    impl Level {
        pub(crate) fn set(&self, value: u64) {
            self.instrument.record(value, &self.attributes);
        }
    }
}

#[cfg(feature = "bound-instruments")]
mod kept {
    use opentelemetry::metrics::{BoundCounter, BoundGauge, BoundHistogram};

    use super::{Counter, Gauge, Histogram, KeyValue};

    #[derive(Debug)]
    pub(crate) struct Duration(BoundHistogram<f64>);
    #[derive(Debug)]
    pub(crate) struct Count(BoundCounter<u64>);
    #[derive(Debug)]
    pub(crate) struct Level(BoundGauge<u64>);

    impl Duration {
        pub(crate) fn new(instrument: &Histogram<f64>, attributes: &[KeyValue]) -> Self {
            Self(instrument.bind(attributes))
        }

        pub(crate) fn record(&self, value: f64) {
            self.0.record(value);
        }
    }

    impl Count {
        pub(crate) fn new(instrument: &Counter<u64>, attributes: &[KeyValue]) -> Self {
            Self(instrument.bind(attributes))
        }

        pub(crate) fn add(&self, value: u64) {
            self.0.add(value);
        }
    }

    impl Level {
        pub(crate) fn new(instrument: &Gauge<u64>, attributes: &[KeyValue]) -> Self {
            Self(instrument.bind(attributes))
        }

        pub(crate) fn set(&self, value: u64) {
            self.0.record(value);
        }
    }
}

pub(crate) use self::kept::{Count, Duration, Level};
