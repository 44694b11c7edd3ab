/// What of the environment the SDK does not read by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) disabled: bool,
    pub(super) traces: Exporter,
    pub(super) metrics: Exporter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exporter {
    Otlp,
    None,
}

impl Settings {
    /// `only_if_configured`: a signal for which no variable names an exporter or an endpoint is not exported.
    pub(super) fn read(only_if_configured: bool, var: impl Fn(&str) -> Option<String>) -> Self {
        let var = |name: &str| var(name).filter(|value| !value.is_empty());
        let exporter = |name: &str, endpoint: &str| match var(name) {
            Some(value) => exporter(name, &value),
            None if only_if_configured && var("OTEL_EXPORTER_OTLP_ENDPOINT").is_none() && var(endpoint).is_none() => {
                Exporter::None
            }
            None => Exporter::Otlp,
        };
        Self {
            disabled: var("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")),
            traces: exporter("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
            metrics: exporter("OTEL_METRICS_EXPORTER", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"),
        }
    }
}

fn exporter(name: &str, value: &str) -> Exporter {
    match value {
        "otlp" => Exporter::Otlp,
        "none" => Exporter::None,
        _ => {
            // The specification: an unknown value is warned about and ignored.
            tracing::warn!(variable = name, "only `otlp` and `none` are supported here: exporting by OTLP");
            Exporter::Otlp
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Exporter, Settings};

    #[test]
    fn the_variables_decide_per_signal() {
        let read = |only: bool, vars: &[(&str, &str)]| {
            Settings::read(only, |name| vars.iter().find(|(key, _)| *key == name).map(|(_, v)| (*v).to_owned()))
        };
        let both = |exporter| Settings { disabled: false, traces: exporter, metrics: exporter };
        assert_eq!(read(false, &[]), both(Exporter::Otlp));
        assert_eq!(read(true, &[]), both(Exporter::None));
        assert_eq!(read(true, &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317")]), both(Exporter::Otlp));
        assert_eq!(read(false, &[("OTEL_TRACES_EXPORTER", "none")]).traces, Exporter::None);
        assert_eq!(read(false, &[("OTEL_TRACES_EXPORTER", "zipkin")]).traces, Exporter::Otlp);
        assert_eq!(read(false, &[("OTEL_TRACES_EXPORTER", "")]).traces, Exporter::Otlp);
        let traces = read(true, &[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:4317")]);
        assert_eq!((traces.traces, traces.metrics), (Exporter::Otlp, Exporter::None));
        assert!(read(false, &[("OTEL_SDK_DISABLED", "TRUE")]).disabled);
        assert!(!read(false, &[("OTEL_SDK_DISABLED", "1")]).disabled);
    }
}
