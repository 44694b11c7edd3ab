use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    metrics::{
        PeriodicReader, SdkMeterProvider, Temporality,
        data::{AggregatedMetrics, HistogramDataPoint, MetricData, ResourceMetrics, SumDataPoint},
        exporter::PushMetricExporter,
    },
};

use super::span::find;

/// How often a provider exports by itself: never while a test runs. Questions flush.
const INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads the metrics of any number of services in memory. Clones share what was recorded.
///
/// Every question flushes first, so the answer is what was recorded up to now: the sum since the provider was made
/// (cumulative temporality). The answers are ordered by service and attributes.
///
/// ```
/// use opentelemetry::KeyValue;
/// use opentelemetry::metrics::MeterProvider;
/// use tower_dapr::testing::MetricRecorder;
///
/// let recorder = MetricRecorder::new();
/// let meter = recorder.provider("order").meter("my app");
/// let duration = meter.f64_histogram("rpc.client.call.duration").with_boundaries(vec![0.1, 0.2, 0.4]).build();
/// for seconds in [0.11, 0.12, 0.15, 0.30] {
///     duration.record(seconds, &[KeyValue::new("rpc.method", "GetState")]);
/// }
///
/// let points = recorder.histogram("rpc.client.call.duration");
/// assert_eq!(points.len(), 1);
/// assert_eq!((points[0].service(), points[0].count()), ("order", 4));
/// assert_eq!(points[0].attribute_str("rpc.method"), Some("GetState"));
/// assert_eq!(points[0].buckets(), [0, 3, 1, 0]);
/// ```
#[derive(Clone, Default)]
pub struct MetricRecorder {
    providers: Arc<Mutex<Vec<SdkMeterProvider>>>,
    /// What each provider exported last, by its number. Not in `providers`: those hold their exporter, which holds this.
    latest: Arc<Mutex<HashMap<usize, Vec<Series>>>>,
}

/// One series of a histogram: a set of attributes, and the measurements that had it.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramPoint {
    labels: Labels,
    count: u64,
    sum: f64,
    range: Option<(f64, f64)>,
    bounds: Vec<f64>,
    buckets: Vec<u64>,
}

/// One series of a counter, an up-down counter or a gauge: a set of attributes, and their value.
#[derive(Clone, Debug, PartialEq)]
pub struct NumberPoint {
    labels: Labels,
    value: f64,
}

#[derive(Clone, Debug, PartialEq)]
struct Labels {
    service: Arc<str>,
    attributes: Vec<KeyValue>,
}

#[derive(Clone)]
struct Series {
    name: String,
    point: Point,
}

#[derive(Clone)]
enum Point {
    Histogram(HistogramPoint),
    Counter(NumberPoint),
    UpDown(NumberPoint),
    Gauge(NumberPoint),
}

/// Keeps what one provider exported last.
struct Exporter {
    service: Arc<str>,
    number: usize,
    latest: Arc<Mutex<HashMap<usize, Vec<Series>>>>,
}

// ===== impl MetricRecorder =====

impl MetricRecorder {
    /// A recorder without measurements.
    pub fn new() -> Self {
        Self::default()
    }

    /// A meter provider whose measurements end up here. Its resource is `service.name` and nothing else.
    pub fn provider(&self, service: impl Into<Arc<str>>) -> SdkMeterProvider {
        let service = service.into();
        let resource = Resource::builder_empty().with_service_name(service.to_string()).build();
        let exporter = self.exporter(service);
        let reader = PeriodicReader::builder(exporter).with_interval(INTERVAL).build();
        let provider = SdkMeterProvider::builder().with_resource(resource).with_reader(reader).build();
        lock(&self.providers).push(provider.clone());
        provider
    }

    /// For a provider that is built elsewhere: an exporter whose measurements end up here. Such a provider is not flushed
    /// by the questions: flush it first.
    pub fn exporter<N: Into<Arc<str>>>(&self, service: N) -> impl PushMetricExporter + use<N> {
        let mut latest = lock(&self.latest);
        let number = latest.len();
        latest.insert(number, Vec::new());
        Exporter { service: service.into(), number, latest: Arc::clone(&self.latest) }
    }

    /// Takes over what was measured up to now. The questions do it themselves; a provider that was shut down keeps what
    /// it had then.
    pub fn collect(&self) {
        // Not under the lock: an observable instrument's callback may ask for another provider.
        let providers = lock(&self.providers).clone();
        for provider in providers {
            // Fails after a shutdown only, which has flushed.
            let _ = provider.force_flush();
        }
    }

    /// The series of a histogram; none if nothing was recorded under this name.
    pub fn histogram(&self, name: &str) -> Vec<HistogramPoint> {
        let histogram = |point| if let Point::Histogram(point) = point { Some(point) } else { None };
        sorted(self.points(name).filter_map(histogram).collect(), |point| &point.labels)
    }

    /// The series of a counter (of a sum that only grows).
    pub fn counter(&self, name: &str) -> Vec<NumberPoint> {
        let counter = |point| if let Point::Counter(point) = point { Some(point) } else { None };
        sorted(self.points(name).filter_map(counter).collect(), |point| &point.labels)
    }

    /// The series of an up-down counter.
    pub fn up_down(&self, name: &str) -> Vec<NumberPoint> {
        let up_down = |point| if let Point::UpDown(point) = point { Some(point) } else { None };
        sorted(self.points(name).filter_map(up_down).collect(), |point| &point.labels)
    }

    /// The series of a gauge.
    pub fn gauge(&self, name: &str) -> Vec<NumberPoint> {
        let gauge = |point| if let Point::Gauge(point) = point { Some(point) } else { None };
        sorted(self.points(name).filter_map(gauge).collect(), |point| &point.labels)
    }

    /// The names of all instruments that recorded something, ordered.
    pub fn names(&self) -> Vec<String> {
        self.collect();
        let mut names: Vec<_> = lock(&self.latest).values().flatten().map(|series| series.name.clone()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn points(&self, name: &str) -> impl Iterator<Item = Point> {
        self.collect();
        let latest = lock(&self.latest);
        let points: Vec<_> =
            latest.values().flatten().filter(|series| series.name == name).map(|series| series.point.clone()).collect();
        points.into_iter()
    }
}

impl fmt::Debug for MetricRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricRecorder").field("providers", &lock(&self.providers).len()).finish()
    }
}

// ===== impl HistogramPoint =====

impl HistogramPoint {
    /// The service that measured.
    pub fn service(&self) -> &str {
        &self.labels.service
    }

    /// The attributes, ordered by key.
    pub fn attributes(&self) -> &[KeyValue] {
        &self.labels.attributes
    }

    /// An attribute's value.
    pub fn attribute(&self, key: &str) -> Option<&Value> {
        find(self.attributes(), key)
    }

    /// An attribute's value if it is a string.
    pub fn attribute_str(&self, key: &str) -> Option<&str> {
        as_str(self.attribute(key)?)
    }

    /// How many measurements there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum, in the instrument's unit.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// The smallest and the largest measurement, if the SDK recorded them.
    pub fn range(&self) -> Option<(f64, f64)> {
        self.range
    }

    /// The upper bounds of all buckets but the last, which has none. A measurement equal to a bound is below it.
    pub fn bounds(&self) -> &[f64] {
        &self.bounds
    }

    /// How many measurements fell into each bucket: one number more than there are bounds.
    pub fn buckets(&self) -> &[u64] {
        &self.buckets
    }

    /// An estimate of the value below which the fraction `q` (0 to 1) of all measurements lies.
    ///
    /// Finds the bucket that the measurement of rank `q * count` fell into, and takes the measurements in it for evenly
    /// spread: linear interpolation between its bounds, as Prometheus' `histogram_quantile` does. Where the smallest and
    /// the largest measurement are known (the SDK records them unless told otherwise), no bucket reaches beyond them;
    /// otherwise the first bucket begins at 0 if its bound is positive, and the last gives its lower bound. `None` if
    /// nothing was measured, or if `q` is not between 0 and 1.
    ///
    /// ```
    /// # use opentelemetry::metrics::MeterProvider;
    /// # use tower_dapr::testing::MetricRecorder;
    /// # let recorder = MetricRecorder::new();
    /// let meter = recorder.provider("order").meter("my app");
    /// let duration = meter.f64_histogram("duration").with_boundaries(vec![1.0, 2.0, 4.0]).build();
    /// for seconds in [0.5, 1.2, 1.4, 1.9, 3.0] {
    ///     duration.record(seconds, &[]);
    /// }
    /// // Rank 2.5 of 5: one and a half of the three measurements between 1 and 2.
    /// assert_eq!(recorder.histogram("duration")[0].quantile(0.5), Some(1.5));
    /// ```
    pub fn quantile(&self, q: f64) -> Option<f64> {
        if self.count == 0 || !(0.0..=1.0).contains(&q) {
            return None;
        }
        let rank = q * self.count as f64;
        let mut below = 0.0;
        for (at, in_bucket) in self.buckets.iter().map(|count| *count as f64).enumerate() {
            if in_bucket > 0.0 && below + in_bucket >= rank {
                let (lower, upper) = self.bucket(at);
                return Some(lower + (upper - lower) * ((rank - below) / in_bucket));
            }
            below += in_bucket;
        }
        self.range.map(|(_, max)| max)
    }

    /// The lower and the upper end of a bucket, as far as it was used.
    fn bucket(&self, at: usize) -> (f64, f64) {
        let (min, max) = self.range.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
        let upper = self.bounds.get(at).copied();
        let lower = match at.checked_sub(1) {
            Some(before) => self.bounds.get(before).copied().unwrap_or_default(),
            None if min.is_finite() => min,
            None => upper.unwrap_or_default().min(0.0),
        };
        let upper = upper.unwrap_or(if max.is_finite() { max } else { lower });
        (lower.max(min), upper.min(max))
    }
}

// ===== impl NumberPoint =====

impl NumberPoint {
    /// The service that measured.
    pub fn service(&self) -> &str {
        &self.labels.service
    }

    /// The attributes, ordered by key.
    pub fn attributes(&self) -> &[KeyValue] {
        &self.labels.attributes
    }

    /// An attribute's value.
    pub fn attribute(&self, key: &str) -> Option<&Value> {
        find(self.attributes(), key)
    }

    /// An attribute's value if it is a string.
    pub fn attribute_str(&self, key: &str) -> Option<&str> {
        as_str(self.attribute(key)?)
    }

    /// The sum, or a gauge's last value. Exact for whole numbers up to 2^53.
    pub fn value(&self) -> f64 {
        self.value
    }
}

// ===== impl Exporter =====

impl PushMetricExporter for Exporter {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let mut series = Vec::new();
        for metric in metrics.scope_metrics().flat_map(|scope| scope.metrics()) {
            let points = match metric.data() {
                AggregatedMetrics::F64(data) => self.points(data, |value| value),
                AggregatedMetrics::U64(data) => self.points(data, |value| value as f64),
                AggregatedMetrics::I64(data) => self.points(data, |value| value as f64),
            };
            series.extend(points.into_iter().map(|point| Series { name: metric.name().to_owned(), point }));
        }
        // Cumulative: this holds all that the export before it held.
        lock(&self.latest).insert(self.number, series);
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

impl Exporter {
    fn points<T: Copy>(&self, data: &MetricData<T>, number: impl Fn(T) -> f64) -> Vec<Point> {
        let sum = |point: &SumDataPoint<T>| self.number_point(point.attributes(), number(point.value()));
        match data {
            MetricData::Histogram(histogram) => {
                histogram.data_points().map(|point| Point::Histogram(self.histogram_point(point, &number))).collect()
            }
            MetricData::Sum(data) if data.is_monotonic() => data.data_points().map(sum).map(Point::Counter).collect(),
            MetricData::Sum(data) => data.data_points().map(sum).map(Point::UpDown).collect(),
            MetricData::Gauge(gauge) => {
                let point = |value| Point::Gauge(value);
                let points = gauge.data_points();
                points.map(|value| point(self.number_point(value.attributes(), number(value.value())))).collect()
            }
            // Only a view makes one, and the provider has no views.
            MetricData::ExponentialHistogram(_) => Vec::new(),
        }
    }

    fn histogram_point<T: Copy>(&self, point: &HistogramDataPoint<T>, number: impl Fn(T) -> f64) -> HistogramPoint {
        HistogramPoint {
            labels: self.labels(point.attributes()),
            count: point.count(),
            sum: number(point.sum()),
            range: point.min().zip(point.max()).map(|(min, max)| (number(min), number(max))),
            bounds: point.bounds().collect(),
            buckets: point.bucket_counts().collect(),
        }
    }

    fn number_point<'a>(&self, attributes: impl Iterator<Item = &'a KeyValue>, value: f64) -> NumberPoint {
        NumberPoint { labels: self.labels(attributes), value }
    }

    fn labels<'a>(&self, attributes: impl Iterator<Item = &'a KeyValue>) -> Labels {
        let mut attributes: Vec<_> = attributes.cloned().collect();
        attributes.sort_by(|a, b| a.key.cmp(&b.key));
        Labels { service: Arc::clone(&self.service), attributes }
    }
}

fn sorted<T>(mut points: Vec<T>, labels: impl Fn(&T) -> &Labels) -> Vec<T> {
    points.sort_by_cached_key(|point| {
        let Labels { service, attributes } = labels(point);
        let attributes = attributes.iter().map(|attribute| (attribute.key.to_string(), attribute.value.to_string()));
        (Arc::clone(service), attributes.collect::<Vec<_>>())
    });
    points
}

fn as_str(value: &Value) -> Option<&str> {
    if let Value::String(value) = value { Some(value.as_str()) } else { None }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here can be half done: what a panic left is good.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
