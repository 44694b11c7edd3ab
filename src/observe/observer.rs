use std::time::Duration;

use http::{Extensions, HeaderMap, Method, StatusCode, Uri, Version, request};

use crate::{
    classify::{Outcome, Protocol, Side},
    rpc::{Names, Rpc},
};

/// Decides per call whether to record it. Implemented by layers; see the [module docs](crate::observe).
pub trait Observer {
    /// What is kept for the time of one exchange.
    type Recording: Recording;

    /// Which side of the exchanges is watched. Must always answer the same.
    fn side(&self) -> Side;

    /// Is there anything to record with? Asked before all else; `false` means that the request is not even taken apart.
    ///
    /// Defaults to `true`.
    fn is_on(&self) -> bool {
        true
    }

    /// Does this observer want the call? Asked before anything that costs; `false` means that
    /// [`begin`](Self::begin) is not asked, and a call that no observer wants passes untouched.
    ///
    /// Defaults to `true`.
    fn wants(&self, request: &request::Parts) -> bool {
        let _ = request;
        true
    }

    /// A call is about to be made. `None`: not recorded.
    ///
    /// May change the request's headers (to propagate context) and extensions.
    fn begin(&self, call: &mut Call<'_>) -> Option<Self::Recording>;
}

/// Is told what happens to one exchange.
pub trait Recording {
    /// Alive while the inner service is called or polled.
    type Scope;

    /// The inner service, its future or its body is about to run.
    fn enter(&self) -> Self::Scope;

    /// The head of the response has arrived. Defaults to doing nothing.
    fn head(&mut self, head: &ResponseHead<'_>) {
        let _ = head;
    }

    /// A data frame of the response went past. Defaults to doing nothing.
    fn data(&mut self, bytes: usize) {
        let _ = bytes;
    }

    /// The same frame's content, as far as it lies in one piece. Defaults to doing nothing.
    fn chunk(&mut self, chunk: &[u8]) {
        let _ = chunk;
    }

    /// Is anything but its scope asked for? `false`: it is told nothing more and only dropped when the exchange is over, for
    /// a call that is passed on in a context and not recorded. Defaults to `true`.
    fn is_listening(&self) -> bool {
        true
    }

    /// Is [`End::elapsed`] asked for? Reading the clock twice is dear beside the rest. Defaults to `true`.
    fn is_timed(&self) -> bool {
        true
    }

    /// What wants to see the data of the request's body as it passes, piece by piece. Asked once, behind `begin`.
    ///
    /// Heard only if the body is tonic's ([`tonic::body::Body`]), which is then boxed once more. Defaults to `None`.
    fn watch_request(&mut self) -> Option<RequestWatch> {
        None
    }

    /// The exchange is over. Called once, also out of a drop: must not panic.
    fn end(self, end: &End<'_>);
}

/// Sees the data frames of a request's body. See [`Recording::watch_request`].
pub type RequestWatch = Box<dyn FnMut(&[u8]) + Send>;

/// A call that is about to be made.
#[derive(Debug)]
#[non_exhaustive]
pub struct Call<'a> {
    /// The protocol, told by the request's content type.
    pub protocol: Protocol,
    /// The row of [Dapr's table](crate::rpc) for this path.
    pub rpc: Option<&'static Rpc>,
    /// What the first message says about component and topic.
    pub names: Names<'a>,
    /// The first frame of a call to Dapr, if the names were read from it.
    pub first_message: Option<&'a [u8]>,
    /// The request without its body.
    pub request: &'a mut request::Parts,
}

impl Call<'_> {
    /// The request's method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.request.method
    }

    /// The request's URI.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.request.uri
    }

    /// The request's HTTP version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.request.version
    }

    /// The request's headers.
    #[must_use]
    pub fn headers(&mut self) -> &mut HeaderMap {
        &mut self.request.headers
    }

    /// The request's extensions.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.request.extensions
    }

    /// The matched route of axum (`/orders/{id}`), known if the layer stands inside the router. One outside is told
    /// with the head of the response, if a [`RouteLayer`](super::RouteLayer) stands inside.
    #[must_use]
    pub fn route(&self) -> Option<&str> {
        self.request.extensions.get::<axum::extract::MatchedPath>().map(axum::extract::MatchedPath::as_str)
    }
}

/// The head of a response.
#[derive(Debug)]
#[non_exhaustive]
pub struct ResponseHead<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its version.
    pub version: Version,
    /// Its extensions: what the inner service has to say beside the wire.
    pub extensions: &'a Extensions,
}

/// How an exchange ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct End<'a> {
    /// What it came to.
    pub outcome: &'a Outcome,
    /// From the call to the end, on tokio's clock; zero if no recording [asked for it](Recording::is_timed).
    pub elapsed: Duration,
}

// ===== two observers at once =====

/// Watches once for both. Each decides for itself; the first is outermost.
impl<A: Observer, B: Observer> Observer for (A, B) {
    type Recording = (Option<A::Recording>, Option<B::Recording>);

    fn side(&self) -> Side {
        self.0.side()
    }

    fn is_on(&self) -> bool {
        self.0.is_on() || self.1.is_on()
    }

    fn wants(&self, request: &request::Parts) -> bool {
        self.0.wants(request) || self.1.wants(request)
    }

    fn begin(&self, call: &mut Call<'_>) -> Option<Self::Recording> {
        let first = if self.0.wants(call.request) { self.0.begin(call) } else { None };
        let second = if self.1.wants(call.request) { self.1.begin(call) } else { None };
        (first.is_some() || second.is_some()).then_some((first, second))
    }
}

impl<A: Recording, B: Recording> Recording for (Option<A>, Option<B>) {
    /// In this order, so that the scopes are left in the reverse order of being entered.
    type Scope = (Option<B::Scope>, Option<A::Scope>);

    fn enter(&self) -> Self::Scope {
        let first = self.0.as_ref().map(Recording::enter);
        let second = self.1.as_ref().map(Recording::enter);
        (second, first)
    }

    fn head(&mut self, head: &ResponseHead<'_>) {
        if let Some(first) = &mut self.0 {
            first.head(head);
        }
        if let Some(second) = &mut self.1 {
            second.head(head);
        }
    }

    fn data(&mut self, bytes: usize) {
        if let Some(first) = &mut self.0 {
            first.data(bytes);
        }
        if let Some(second) = &mut self.1 {
            second.data(bytes);
        }
    }

    fn chunk(&mut self, chunk: &[u8]) {
        if let Some(first) = &mut self.0 {
            first.chunk(chunk);
        }
        if let Some(second) = &mut self.1 {
            second.chunk(chunk);
        }
    }

    fn is_listening(&self) -> bool {
        self.0.as_ref().is_some_and(Recording::is_listening) || self.1.as_ref().is_some_and(Recording::is_listening)
    }

    fn is_timed(&self) -> bool {
        self.0.as_ref().is_some_and(Recording::is_timed) || self.1.as_ref().is_some_and(Recording::is_timed)
    }

    fn watch_request(&mut self) -> Option<RequestWatch> {
        let first = self.0.as_mut().and_then(Recording::watch_request);
        let second = self.1.as_mut().and_then(Recording::watch_request);
        match (first, second) {
            (Some(mut first), Some(mut second)) => Some(Box::new(move |data| {
                first(data);
                second(data);
            })),
            (first, second) => first.or(second),
        }
    }

    fn end(self, end: &End<'_>) {
        // The inner one first: a metric is recorded while the span, of which it may keep an exemplar, is still open.
        if let Some(second) = self.1 {
            second.end(end);
        }
        if let Some(first) = self.0 {
            first.end(end);
        }
    }
}
