//! What the shop has recorded, for a person to read.

use std::fmt::Write;

use tower_dapr::testing::{HistogramPoint, MetricRecorder, SpanRecorder, Trace};

/// The trace of an order that went all the way.
pub fn waterfall(spans: &SpanRecorder) -> Option<String> {
    spans.traces().iter().find(|trace| trace.span("publish orders").is_some()).map(Trace::render)
}

/// How often each operation was called, how long it took, and how often it went wrong.
pub fn operations(metrics: &MetricRecorder) -> String {
    let mut text = format!(
        "{:<12}  {:<32}  {:>6}  {:>9}  {:>9}  {:>6}\n",
        "service", "operation", "calls", "p50", "p99", "errors"
    );
    for (service, operation, points) in grouped(metrics) {
        let merged = Merged::of(&points);
        let _ = writeln!(
            text,
            "{service:<12}  {operation:<32}  {:>6}  {:>9}  {:>9}  {:>6}",
            merged.count,
            milliseconds(merged.quantile(0.5)),
            milliseconds(merged.quantile(0.99)),
            merged.errors,
        );
    }
    text
}

const DURATIONS: [&str; 3] =
    ["http.client.request.duration", "http.server.request.duration", "rpc.client.call.duration"];

/// The series of each operation of each service, in order.
fn grouped(metrics: &MetricRecorder) -> Vec<(String, String, Vec<HistogramPoint>)> {
    let mut groups: Vec<(String, String, Vec<HistogramPoint>)> = Vec::new();
    for point in DURATIONS.iter().flat_map(|name| metrics.histogram(name)) {
        let (service, operation) = (point.service().to_owned(), operation(&point));
        match groups.iter_mut().find(|group| group.0 == service && group.1 == operation) {
            Some(group) => group.2.push(point),
            None => groups.push((service, operation, vec![point])),
        }
    }
    groups.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    groups
}

fn operation(point: &HistogramPoint) -> String {
    let of = |key| point.attribute_str(key);
    match of("rpc.method") {
        Some(method) => {
            let method = method.rsplit('/').next().unwrap_or_default();
            let target = of("dapr.component.name").or(of("dapr.app_id")).unwrap_or_default();
            format!("{method} {target}")
        }
        None => {
            let method = of("http.request.method").unwrap_or_default();
            format!("{method} {}", of("http.route").unwrap_or_default())
        }
    }
}

/// Several series of one histogram, as one.
struct Merged {
    count: u64,
    errors: u64,
    bounds: Vec<f64>,
    buckets: Vec<u64>,
}

impl Merged {
    fn of(points: &[HistogramPoint]) -> Self {
        let mut merged = Self { count: 0, errors: 0, bounds: Vec::new(), buckets: Vec::new() };
        for point in points {
            merged.count += point.count();
            merged.errors += if point.attribute("error.type").is_some() { point.count() } else { 0 };
            merged.bounds = point.bounds().to_vec();
            merged.buckets.resize(point.buckets().len(), 0);
            for (sum, count) in merged.buckets.iter_mut().zip(point.buckets()) {
                *sum += count;
            }
        }
        merged
    }

    /// In seconds, interpolated within the bucket; nothing finer can be told from a histogram.
    fn quantile(&self, q: f64) -> Option<f64> {
        let rank = q * self.count as f64;
        let mut below = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            if *count > 0 && (below + count) as f64 >= rank {
                let lower = if index == 0 { 0.0 } else { self.bounds[index - 1] };
                let upper = self.bounds.get(index).copied().unwrap_or(lower);
                return Some(lower + (upper - lower) * (rank - below as f64) / *count as f64);
            }
            below += count;
        }
        None
    }
}

fn milliseconds(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{:.1} ms", seconds * 1000.0))
}
