use std::{fmt, sync::Arc};

use http::request;
use tower_layer::Layer;

use super::{BreakerPolicy, BreakerRecording, Gate, gate::Refused, targets::Targets};
use crate::{
    classify::Side,
    observe::{Call, Observe, Observer},
};

/// The service that [`BreakerLayer`] makes.
pub type Breaker<S> = Observe<Gate<S>, BreakerLayer>;

/// Stops calling what fails, for a while. See the [module docs](crate::breaker) for an example.
///
/// Clones, and the services they make, share the state of the targets.
#[derive(Debug, Clone)]
pub struct BreakerLayer {
    targets: Arc<Targets>,
    name: Option<Name>,
}

#[derive(Clone)]
struct Name(Arc<NameOf>);

type NameOf = dyn Fn(&request::Parts) -> Option<Arc<str>> + Send + Sync;

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Name")
    }
}

impl BreakerLayer {
    /// A breaker per target, by this policy.
    #[must_use]
    pub fn new(policy: BreakerPolicy) -> Self {
        Self { targets: Arc::new(Targets::new(policy)), name: None }
    }

    /// What a request is for. Requests for which it says `None` pass. It replaces the default: the component, app id or
    /// actor type of a gRPC call to Dapr; the header `dapr-app-id`; of Dapr's HTTP API the building block and the name
    /// behind it; the authority of any other URI.
    #[must_use]
    pub fn with_target(mut self, name: impl Fn(&request::Parts) -> Option<Arc<str>> + Send + Sync + 'static) -> Self {
        self.name = Some(Name(Arc::new(name)));
        self
    }

    fn admit(&self, target: &str, call: &mut Option<Refused>) -> Option<BreakerRecording> {
        let circuit = self.targets.circuit(target)?;
        match circuit.admit() {
            Ok(ticket) => Some(BreakerRecording { circuit, ticket }),
            Err(retry_after) => {
                *call = Some(Refused { target: target.into(), retry_after });
                None
            }
        }
    }
}

/// By [`BreakerPolicy::default`].
impl Default for BreakerLayer {
    fn default() -> Self {
        Self::new(BreakerPolicy::default())
    }
}

impl<S> Layer<S> for BreakerLayer {
    type Service = Breaker<S>;

    fn layer(&self, inner: S) -> Breaker<S> {
        Observe::new(Gate { inner }, self.clone())
    }
}

impl Observer for BreakerLayer {
    type Recording = BreakerRecording;

    fn side(&self) -> Side {
        Side::Client
    }

    fn begin(&self, call: &mut Call<'_>) -> Option<BreakerRecording> {
        let mut refused = None;
        let recording = match (&self.name, call.names.component) {
            (Some(name), _) => self.admit(&(name.0)(call.request)?, &mut refused),
            (None, Some(component)) => self.admit(component, &mut refused),
            (None, None) => self.admit(target(call.request)?, &mut refused),
        };
        if let Some(refused) = refused {
            call.request.extensions.insert(refused);
        }
        recording
    }
}

/// What a call is for that does not say it in a message.
fn target(request: &request::Parts) -> Option<&str> {
    if let Some(app) = request.headers.get("dapr-app-id") {
        return app.to_str().ok();
    }
    let path = request.uri.path();
    if let Some(api) = path.strip_prefix("/v1.0/") {
        // `state/redis/key` -> `state/redis`: a store and a broker may have the same name.
        let end = api.match_indices('/').nth(1).map_or(api.len(), |(end, _)| end);
        return Some(&api[..end]);
    }
    request.uri.authority().map(http::uri::Authority::as_str)
}
