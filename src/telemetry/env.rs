/// What of the environment the SDK does not read by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) disabled: bool,
    pub(super) traces: Exporter,
    pub(super) metrics: Exporter,
    /// How each is to be exported, if its endpoint is an `https` one.
    https: [Option<Protocol>; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Grpc,
    Http,
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
        // As the exporter reads them: the signal's own first; a value that it does not know is as none.
        let first = |name: &str, signal: &str| {
            let own = name.replacen("OTLP_", &format!("OTLP_{signal}_"), 1);
            [own.as_str(), name].map(&var)
        };
        let https = |signal: &str| {
            let [own, general] = first("OTEL_EXPORTER_OTLP_ENDPOINT", signal);
            own.or(general).filter(|endpoint| endpoint.trim().starts_with("https:"))?;
            let protocols = first("OTEL_EXPORTER_OTLP_PROTOCOL", signal);
            protocols.into_iter().flatten().find_map(|value| Protocol::of(&value)).or(Some(Protocol::Http))
        };
        Self {
            https: ["TRACES", "METRICS"].map(https),
            disabled: var("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")),
            traces: exporter("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
            metrics: exporter("OTEL_METRICS_EXPORTER", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"),
        }
    }
}

impl Settings {
    /// The signal that cannot be exported as it is asked to, and why not: found out now and not at the first export.
    pub(super) fn refusal(&self, has_tls: bool) -> Option<(&'static str, &'static str)> {
        let signals = [("traces", self.traces), ("metrics", self.metrics)];
        signals.into_iter().zip(self.https).find_map(|((signal, exporter), https)| match (exporter, https?) {
            (Exporter::None, _) => None,
            (Exporter::Otlp, Protocol::Http) => {
                Some((signal, "an `https` endpoint needs OTEL_EXPORTER_OTLP_PROTOCOL=grpc here"))
            }
            (Exporter::Otlp, Protocol::Grpc) if has_tls => None,
            (Exporter::Otlp, Protocol::Grpc) => Some((signal, "an `https` endpoint needs tower-dapr's feature `tls`")),
        })
    }
}

impl Protocol {
    fn of(value: &str) -> Option<Self> {
        match value.trim().to_ascii_lowercase().as_str() {
            "grpc" => Some(Self::Grpc),
            "http/protobuf" | "http/json" => Some(Self::Http),
            _ => None,
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
        let both = |exporter| Settings { disabled: false, traces: exporter, metrics: exporter, https: [None, None] };
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
    #[test]
    fn an_https_endpoint_is_refused_where_it_could_not_be_reached() {
        let refused = |has_tls: bool, vars: &[(&str, &str)]| {
            let var = |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            Settings::read(false, var).refusal(has_tls)
        };
        let everything = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c");
        let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        assert_eq!(refused(false, &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"), grpc]), None);
        assert_eq!(refused(true, &[everything, grpc]), None);
        assert!(refused(false, &[everything, grpc]).unwrap().1.contains("feature `tls`"));
        let (signal, reason) = refused(true, &[everything]).unwrap();
        assert!(signal == "traces" && reason.contains("grpc"), "{signal} {reason}");
        // The signal's own variables win; a protocol that is unknown says nothing.
        let http = ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf");
        assert_eq!(refused(true, &[everything, grpc, http]).unwrap().0, "metrics");
        assert_eq!(refused(true, &[everything, grpc, ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "carrier pigeon")]), None);
        let own = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://c");
        assert_eq!(refused(true, &[own]).unwrap().0, "metrics");
        assert_eq!(refused(true, &[own, ("OTEL_METRICS_EXPORTER", "none")]), None);
    }
}
