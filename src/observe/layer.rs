use tower_layer::Layer;

use super::{Observe, Observer};

/// Puts an [`Observer`] around a service. See the [module docs](crate::observe) for an example.
#[derive(Debug, Clone)]
pub struct ObserveLayer<O> {
    observer: O,
}

impl<O: Observer> ObserveLayer<O> {
    /// A layer of one observer, or of several in a tuple of two: `ObserveLayer::new((trace, metrics))`.
    #[must_use]
    pub const fn new(observer: O) -> Self {
        Self { observer }
    }
}

impl<S, O: Observer + Clone> Layer<S> for ObserveLayer<O> {
    type Service = Observe<S, O>;

    fn layer(&self, inner: S) -> Self::Service {
        Observe::new(inner, self.observer.clone())
    }
}
