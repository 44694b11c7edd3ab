use opentelemetry::KeyValue;
use tonic::Code;

use super::{instruments::DaprInstruments, key::Key, shared::Shared};
use crate::{
    bound::{Count, Duration, Level},
    classify::{Protocol, Side},
    intern::Name,
    rpc::{BuildingBlock, NameKind, Rpc},
    semconv,
};

/// What one result of one kind of call adds to Dapr's own instruments.
#[derive(Debug, Default)]
pub(super) struct DaprSeries {
    calls: Option<Count>,
    duration: Option<Duration>,
    published: Option<Count>,
    errors: Option<Count>,
    health: Option<(Level, u64)>,
}

// ===== impl DaprSeries =====

impl DaprSeries {
    /// `code` is that of gRPC; of HTTP it is the status.
    pub(super) fn new(shared: &Shared, key: &Key, code: u16, error: Option<&'static str>) -> Self {
        let mut series = Self::default();
        let Some(instruments) = shared.instruments.dapr.as_ref().filter(|_| shared.side() == Side::Client) else {
            return series;
        };
        match (key.parts.protocol, key.rpc) {
            (Protocol::Grpc, Some(rpc)) => {
                series.set_block(shared, instruments, key, rpc, error);
                series.set_health(shared, instruments, key, rpc, Code::from_i32(code.into()));
            }
            (Protocol::Http, _) if key.parts.healthz => {
                let is_well = (200..300).contains(&code);
                series.health = Some((sidecar_health(instruments), is_well.into()));
            }
            _ => {}
        }
        series
    }

    pub(super) fn record(&self, seconds: f64, messages: u64) {
        if let Some(calls) = &self.calls {
            calls.add(1);
        }
        if let Some(duration) = &self.duration {
            duration.record(seconds * 1000.0);
        }
        if let Some(published) = &self.published {
            published.add(messages);
        }
        if let Some(errors) = &self.errors {
            errors.add(1);
        }
        if let Some((health, value)) = &self.health {
            health.set(*value);
        }
    }

    fn set_block(
        &mut self,
        shared: &Shared,
        instruments: &DaprInstruments,
        key: &Key,
        rpc: &'static Rpc,
        error: Option<&'static str>,
    ) {
        let name = key.name(shared);
        let error = error.map(|error| KeyValue::new(semconv::ERROR_TYPE, error));
        let with_error = |attributes: Vec<KeyValue>| attributes.into_iter().chain(error.clone()).collect::<Vec<_>>();
        if rpc.block() == BuildingBlock::Invoke {
            let attributes = with_error(name.iter().cloned().collect());
            self.calls = Some(Count::new(&instruments.invocations, &attributes));
            self.duration = Some(Duration::new(&instruments.invocation_duration, &attributes));
        } else if rpc.block() == BuildingBlock::State {
            let method = KeyValue::new(semconv::RPC_METHOD, rpc.full_method());
            let attributes = with_error(name.iter().cloned().chain([method]).collect());
            self.calls = Some(Count::new(&instruments.state_operations, &attributes));
            self.duration = Some(Duration::new(&instruments.state_duration, &attributes));
        } else if key.is_publish() {
            let (component, topic) = key
                .parts
                .published
                .and_then(|pair| shared.published.text(pair))
                .unwrap_or((semconv::OTHER, semconv::OTHER));
            let attributes = with_error(vec![
                KeyValue::new(semconv::DAPR_COMPONENT, component.to_owned()),
                KeyValue::new(semconv::MESSAGING_DESTINATION, topic.to_owned()),
            ]);
            self.published = Some(Count::new(&instruments.published, &attributes));
        }
        self.errors = error.map(|error| {
            let block = KeyValue::new(semconv::DAPR_BLOCK, rpc.block().as_str());
            Count::new(&instruments.errors, &[block].into_iter().chain(name).chain([error]).collect::<Vec<_>>())
        });
    }

    fn set_health(&mut self, shared: &Shared, instruments: &DaprInstruments, key: &Key, rpc: &Rpc, code: Code) {
        let Some(value) = shows_health(code) else { return };
        if rpc.block() == BuildingBlock::Metadata {
            self.health = Some((sidecar_health(instruments), value));
        } else if rpc.name_kind() == NameKind::Component && key.parts.name.is_some_and(|name| name != Name::OTHER) {
            // One of many under a common name would say nothing about any of them.
            self.health = Some((Level::new(&instruments.health, key.name(shared).as_slice()), value));
        }
    }
}

/// The sidecar itself has no component's name.
fn sidecar_health(instruments: &DaprInstruments) -> Level {
    Level::new(&instruments.health, &[KeyValue::new(semconv::DAPR_BLOCK, BuildingBlock::Health.as_str())])
}

/// What a code says about the component behind it: 1, it did its work, if only to say no; 0, it could not; `None`, the
/// call may never have reached it.
fn shows_health(code: Code) -> Option<u64> {
    match code {
        Code::Ok | Code::NotFound | Code::AlreadyExists | Code::Aborted | Code::OutOfRange => Some(1),
        Code::Unknown
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => Some(0),
        Code::Cancelled
        | Code::InvalidArgument
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Unimplemented
        | Code::Unauthenticated => None,
    }
}
