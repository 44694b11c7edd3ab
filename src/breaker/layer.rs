use std::{fmt, sync::Arc};

use http::request;
use tower_layer::Layer;

use super::{BreakerPolicy, BreakerRecording, Gate, gate::Refused, targets::Targets};
use crate::{
    classify::Side,
    observe::{Call, Observe, Observer},
    rpc::{NameKind, Streaming, in_http_api},
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
    /// actor type of a gRPC call to Dapr, with a breaker each where they have the same name; the header `dapr-app-id`;
    /// of Dapr's HTTP API the building block and the name behind it; the authority of any other URI.
    #[must_use]
    pub fn with_target(mut self, name: impl Fn(&request::Parts) -> Option<Arc<str>> + Send + Sync + 'static) -> Self {
        self.name = Some(Name(Arc::new(name)));
        self
    }

    fn admit(&self, kind: NameKind, target: &str) -> Option<Result<BreakerRecording, Refused>> {
        let circuit = self.targets.circuit(kind, target)?;
        Some(match circuit.admit() {
            Ok(ticket) => Ok(BreakerRecording { circuit, ticket: Some(ticket), is_awaited: false }),
            Err(retry_after) => Err(Refused { target: target.into(), retry_after }),
        })
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
        let admitted = match (&self.name, call.rpc, call.names.component) {
            (Some(name), ..) => self.admit(NameKind::None, &(name.0)(call.request)?),
            (None, Some(rpc), Some(component)) => self.admit(rpc.name_kind(), component),
            _ => {
                let (kind, target) = target(call.request)?;
                self.admit(kind, target)
            }
        };
        match admitted? {
            Ok(mut recording) => {
                recording.is_awaited = call.rpc.is_some_and(|rpc| rpc.streaming() != Streaming::Unary);
                Some(recording)
            }
            Err(refused) => {
                call.request.extensions.insert(refused);
                None
            }
        }
    }
}

/// What a call is for that does not say it in a message.
fn target(request: &request::Parts) -> Option<(NameKind, &str)> {
    if let Some(app) = request.headers.get("dapr-app-id") {
        return Some((NameKind::AppId, app.to_str().ok()?));
    }
    if let Some(api) = in_http_api(request.uri.path()) {
        // `state/redis/key` -> `state/redis`: a store and a broker may have the same name.
        let names = if api.starts_with("publish/bulk/") { 2 } else { 1 };
        let end = api.match_indices('/').nth(names).map_or(api.len(), |(end, _)| end);
        return Some((NameKind::None, &api[..end]));
    }
    Some((NameKind::None, request.uri.authority()?.as_str()))
}
