/// An input binding, and where its events are to be delivered.
///
/// ```
/// use tower_dapr::inbound::Binding;
///
/// let binding = Binding::new("every-minute").route("/cron");
/// ```
#[derive(Debug, Clone)]
#[must_use = "a binding is subscribed by `Subscriptions::binding`"]
pub struct Binding {
    pub(super) name: String,
    pub(super) route: Option<String>,
}

impl Binding {
    /// The binding component of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), route: None }
    }

    /// The path, if the component's metadata has a `route`. Defaults to `/{name}`.
    pub fn route(mut self, path: impl Into<String>) -> Self {
        self.route = Some(path.into());
        self
    }
}

impl From<&str> for Binding {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for Binding {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}
