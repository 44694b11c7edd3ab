//! What was exported and what was logged, for tests to look at.
#![allow(dead_code, reason = "not every test file uses all of it")]

use std::{
    io,
    sync::{Arc, Mutex, OnceLock},
};

use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tracing::{Dispatch, subscriber::NoSubscriber};

/// A provider whose finished spans can be taken.
pub(crate) struct Spans {
    pub(crate) provider: SdkTracerProvider,
    exporter: InMemorySpanExporter,
}

impl Spans {
    pub(crate) fn new() -> Self {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        Self { provider, exporter }
    }

    pub(crate) fn take(&self) -> Vec<SpanData> {
        let finished = self.exporter.get_finished_spans().unwrap();
        self.exporter.reset();
        finished
    }
}

/// All attributes as text, sorted.
pub(crate) fn attributes(span: &SpanData) -> Vec<(String, String)> {
    let mut all: Vec<_> = span.attributes.iter().map(|a| (a.key.to_string(), a.value.as_str().into_owned())).collect();
    all.sort();
    all
}

pub(crate) fn attribute(span: &SpanData, key: &str) -> Option<String> {
    attributes(span).into_iter().find(|(found, _)| found == key).map(|(_, value)| value)
}

/// The log of one thread.
#[derive(Clone, Default)]
pub(crate) struct Logged(Arc<Mutex<Vec<u8>>>);

impl Logged {
    /// Collects what this thread logs while the guard lives.
    pub(crate) fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        // While there is only one dispatcher, tracing asks the first thread that comes to a line whether anybody listens,
        // and remembers a "no" for all threads. With two it asks the dispatchers.
        static SECOND: OnceLock<Dispatch> = OnceLock::new();
        SECOND.get_or_init(|| Dispatch::new(NoSubscriber::new()));

        let logged = Self::default();
        let writer = logged.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        (logged, tracing::subscriber::set_default(subscriber))
    }

    pub(crate) fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
    }
}

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
