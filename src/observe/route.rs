use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::extract::MatchedPath;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

/// Tells layers outside of an axum router which route was taken.
///
/// A layer around the whole router sees every request, those that no route takes and those that other middleware
/// answers, but axum puts its [`MatchedPath`] into the request further in. This layer, inside of the router, puts it into
/// the extensions of the response, where [`TraceLayer`](crate::trace::TraceLayer) and
/// [`MetricsLayer`](crate::metrics::MetricsLayer) find it.
///
/// ```
/// use axum::{Router, routing::get};
/// use tower::Layer;
/// use tower_dapr::{observe::RouteLayer, trace::TraceLayer};
///
/// let app: Router = Router::new().route("/orders/{id}", get(async || "tea")).layer(RouteLayer::new());
/// let app = TraceLayer::server().layer(app);
/// # let _ = app;
/// ```
///
/// What is lost against a layer inside: the route comes with the response's head. So a sampler, a filter and the spans of
/// handlers do not know it, and a call without a response (cancelled, panicked) has none.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct RouteLayer;

/// The service of [`RouteLayer`].
#[derive(Debug, Clone)]
pub struct Route<S> {
    inner: S,
}

pin_project! {
    /// The response future of [`Route`].
    #[derive(Debug)]
    pub struct RouteFuture<F> {
        #[pin]
        inner: F,
        route: Option<MatchedPath>,
    }
}

// ===== impl RouteLayer =====

impl RouteLayer {
    /// The layer.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for RouteLayer {
    type Service = Route<S>;

    fn layer(&self, inner: S) -> Route<S> {
        Route { inner }
    }
}

// ===== impl Route =====

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Route<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = RouteFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let route = request.extensions().get::<MatchedPath>().cloned();
        RouteFuture { inner: self.inner.call(request), route }
    }
}

// ===== impl RouteFuture =====

impl<F, ResBody, E> Future for RouteFuture<F>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut result = ready!(this.inner.poll(cx));
        if let (Ok(response), Some(route)) = (&mut result, this.route.take()) {
            response.extensions_mut().insert(route);
        }
        Poll::Ready(result)
    }
}
