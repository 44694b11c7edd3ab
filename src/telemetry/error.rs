use std::{error::Error, fmt, time::Duration};

/// Telemetry could not be set up, or not be exported in time.
#[derive(Debug)]
pub struct TelemetryError(Kind);

#[derive(Debug)]
pub(super) enum Kind {
    Exporter { signal: &'static str, source: opentelemetry_otlp::ExporterBuildError },
    Unsupported { signal: &'static str, reason: &'static str },
    Subscriber,
    Export { signal: &'static str, reason: String },
    Timeout { signal: &'static str, after: Duration },
}

impl TelemetryError {
    /// A signal could not be exported within the time that was given, or that the SDK takes.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.0, Kind::Timeout { .. })
    }
}

impl From<Kind> for TelemetryError {
    fn from(kind: Kind) -> Self {
        Self(kind)
    }
}

impl fmt::Display for TelemetryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Exporter { signal, .. } => {
                write!(f, "the OTLP exporter of {signal} cannot be built; check OTEL_EXPORTER_OTLP_*")
            }
            Kind::Unsupported { signal, reason } => {
                write!(f, "the OTLP exporter of {signal} cannot be built: {reason}")
            }
            Kind::Subscriber => f.write_str("another `tracing` subscriber is installed already"),
            Kind::Export { signal, reason } => write!(f, "{signal} could not be exported: {reason}"),
            Kind::Timeout { signal, after } => write!(f, "{signal} were not exported within {after:?}"),
        }
    }
}

impl Error for TelemetryError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Kind::Exporter { source, .. } => Some(source),
            _ => None,
        }
    }
}
