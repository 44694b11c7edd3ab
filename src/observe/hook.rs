use std::{fmt, ops::Deref, sync::Arc};

use http::request;
use opentelemetry::KeyValue;

/// A closure of the user's, in a setting.
pub(crate) struct Hook<F: ?Sized>(Arc<F>);

/// Says whether a request is recorded.
pub(crate) type Filter = Hook<dyn Fn(&request::Parts) -> bool + Send + Sync>;

/// Gives attributes of the user's own.
pub(crate) type Attributes = Hook<dyn Fn(&request::Parts) -> Vec<KeyValue> + Send + Sync>;

// ===== impl Hook =====

impl<F: ?Sized> Hook<F> {
    pub(crate) const fn new(hook: Arc<F>) -> Self {
        Self(hook)
    }
}

impl<F: ?Sized> Deref for Hook<F> {
    type Target = F;

    fn deref(&self) -> &F {
        &self.0
    }
}

impl<F: ?Sized> Clone for Hook<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<F: ?Sized> fmt::Debug for Hook<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}
