//! Which evidence lets which call be sent again.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};

use super::{InboundRetry, RetryPolicy, evidence::Evidence, kept::Carried, proto::Fields};
use crate::{
    classify::Protocol,
    rpc::{Rpc, Safety, Streaming, in_http_api},
};

/// In a request's extensions: this call may be repeated. Doing it twice leaves what doing it once leaves.
///
/// For a gRPC method that is none of Dapr's own it says also that the method is unary.
///
/// ```
/// use tower_dapr::retry::Idempotent;
///
/// let mut request = tonic::Request::new(());
/// request.extensions_mut().insert(Idempotent);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idempotent;

/// In a request's extensions: this call must not be repeated unless it certainly never arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotIdempotent;

/// How a call is treated, decided before its first attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) protocol: Protocol,
    pub(super) rpc: Option<&'static Rpc>,
    safety: Safety,
    /// May the body tell more than the path?
    look_into_body: bool,
    /// May one frame of the response be waited for?
    pub(super) unary: bool,
}

impl Plan {
    /// `None`: whatever comes of this call, it is not sent again.
    // Inlined, and the rest is not: what is never sent again is mostly known by its path.
    #[inline]
    pub(super) fn new<B>(policy: &RetryPolicy, request: &Request<B>) -> Option<(Self, Carried)> {
        let found = Rpc::lookup(request.uri().path());
        if found.is_some_and(|rpc| rpc.safety() == Safety::Never) {
            return None;
        }
        Self::of(policy, request, found)
    }

    fn of<B>(policy: &RetryPolicy, request: &Request<B>, found: Option<&'static Rpc>) -> Option<(Self, Carried)> {
        let carried = Carried::by(request.extensions());
        // What tonic's clients mark is gRPC, and the mark is found sooner than the header.
        let protocol = if carried.grpc.is_some() { Protocol::Grpc } else { Protocol::of(request.headers()) };
        let rpc = found.filter(|_| protocol == Protocol::Grpc);
        let by_path = match (protocol, rpc) {
            (Protocol::Grpc, Some(rpc)) => rpc.safety(),
            (Protocol::Grpc, None) => Safety::Effect,
            (Protocol::Http, _) => safety_of_http(request),
        };
        let said = if by_path == Safety::Never { None } else { said_by_user(policy, request, &carried) };
        let unary = match (protocol, rpc) {
            (Protocol::Http, _) => false,
            (Protocol::Grpc, Some(rpc)) => match rpc.streaming() {
                Streaming::Unary => true,
                Streaming::ServerStream => false,
                Streaming::ClientStream | Streaming::Bidi => return None,
            },
            (Protocol::Grpc, None) => said.is_some_and(|said| !matches!(said, Safety::Effect | Safety::Stream)),
        };
        let safety = match by_path {
            Safety::Never => return None,
            Safety::Stream => Safety::Stream,
            by_path => said.unwrap_or(by_path),
        };
        if safety == Safety::Never {
            return None;
        }
        Some((Self { protocol, rpc, safety, look_into_body: said.is_none() && rpc.is_some(), unary }, carried))
    }

    /// May the call be sent again after this?
    pub(super) fn allows(
        &self,
        policy: &RetryPolicy,
        evidence: Evidence,
        body: impl FnOnce() -> Option<Bytes>,
    ) -> bool {
        match evidence {
            Evidence::Success | Evidence::Final | Evidence::Lost => return false,
            Evidence::NotSent | Evidence::Refused => return true,
            Evidence::AppUnavailable if !policy.app_unavailable => return false,
            _ => {}
        }
        let safety = match self.rpc {
            Some(rpc) if self.look_into_body => safety_of_body(policy, rpc, &body().unwrap_or_default()),
            _ => self.safety,
        };
        match (safety, evidence) {
            (Safety::Read, Evidence::Internal) => policy.internal_of_reads,
            (_, Evidence::Internal) => false,
            (Safety::Read | Safety::IdempotentWrite, _) => true,
            (Safety::ConditionalWrite, evidence) => evidence == Evidence::Exhausted || policy.conditional_writes,
            (Safety::Publish, _) => policy.at_least_once,
            _ => false,
        }
    }
}

/// A method's override by the policy, else a marker in the request. The marker is nearer to the call: it wins.
fn said_by_user<B>(policy: &RetryPolicy, request: &Request<B>, carried: &Carried) -> Option<Safety> {
    let extensions = request.extensions();
    if carried.others > 0 {
        if extensions.get::<NotIdempotent>().is_some() {
            return Some(Safety::Effect);
        }
        if extensions.get::<Idempotent>().is_some() {
            return Some(Safety::IdempotentWrite);
        }
    }
    policy.safety_of(request.uri().path())
}

fn safety_of_body(policy: &RetryPolicy, rpc: &'static Rpc, body: &[u8]) -> Safety {
    let safety = rpc.safety_of(body);
    if rpc.method() == "InvokeService" && verb(body).is_some_and(|verb| policy.invoke_verbs.contains(&verb)) {
        return Safety::IdempotentWrite;
    }
    safety
}

/// InvokeServiceRequest.message (3) .http_extension (4) .verb (1).
fn verb(body: &[u8]) -> Option<Method> {
    // gRPC's prefix: not compressed, and the length.
    let message = body.get(5..).filter(|_| body.first() == Some(&0))?;
    let extension = Fields::of(Fields::of(message).message(3)?).message(4)?;
    Some(match Fields::of(extension).number(1)? {
        1 => Method::GET,
        2 => Method::HEAD,
        3 => Method::POST,
        4 => Method::PUT,
        5 => Method::DELETE,
        7 => Method::OPTIONS,
        8 => Method::TRACE,
        9 => Method::PATCH,
        _ => return None,
    })
}

/// RFC 9110, section 9.2: safe and idempotent methods; and what Dapr's HTTP API does with them.
fn safety_of_http<B>(request: &Request<B>) -> Safety {
    let dapr = in_http_api(request.uri().path());
    if dapr == Some("shutdown") {
        return Safety::Never;
    }
    // An invocation takes any verb: what it does, the actor says. A PUT of state is a transaction, as over gRPC.
    match dapr.and_then(|path| path.strip_prefix("actors/")).and_then(|path| path.split('/').nth(2)) {
        Some("method") => return Safety::Effect,
        Some("state") if request.method() == Method::PUT => return Safety::Effect,
        _ => {}
    }
    match *request.method() {
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE => Safety::Read,
        Method::PUT | Method::DELETE if is_conditional(request.headers()) => Safety::ConditionalWrite,
        Method::DELETE => Safety::IdempotentWrite,
        Method::PUT => match dapr.and_then(|path| path.split('/').next()) {
            // Dapr takes PUT for POST here. An etag may stand in the JSON of a state write, unseen.
            Some("state") => Safety::ConditionalWrite,
            Some("publish") => Safety::Publish,
            Some("bindings") => Safety::Effect,
            _ => Safety::IdempotentWrite,
        },
        Method::POST if dapr.is_some_and(|path| path.starts_with("publish/")) => Safety::Publish,
        _ => Safety::Effect,
    }
}

fn is_conditional(headers: &HeaderMap) -> bool {
    headers.contains_key(header::IF_MATCH) || headers.contains_key(header::IF_NONE_MATCH)
}

impl Plan {
    /// Of a delivery to a handler of ours.
    pub(super) fn inbound<B>(retry: &InboundRetry, request: &Request<B>) -> Option<(Self, Carried)> {
        if !retry.covers(request.uri().path()) || request.extensions().get::<NotIdempotent>().is_some() {
            return None;
        }
        let (protocol, rpc) = (Protocol::of(request.headers()), Rpc::lookup(request.uri().path()));
        if protocol == Protocol::Grpc && !rpc.is_some_and(|rpc| retry.covers_rpc(rpc)) {
            return None;
        }
        let plan = Self {
            protocol,
            rpc,
            // That it may run again is what switching this on says.
            safety: Safety::IdempotentWrite,
            look_into_body: false,
            unary: true,
        };
        Some((plan, Carried::by(request.extensions())))
    }
}
