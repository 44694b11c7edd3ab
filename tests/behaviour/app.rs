//! What the tests' apps have in common.

use std::future::{Ready, ready};

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tower_dapr::{
    event::CloudEvent,
    inbound::{AppCallbacks, Subscriptions},
};

use super::world::AppBuilder;
use crate::real::{App, Log, free_port};

/// How an app speaks with its sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    Http,
    Grpc,
}

pub const BOTH: [Speaks; 2] = [Speaks::Http, Speaks::Grpc];

/// Serves subscriptions either way.
pub async fn serve(speaks: Speaks, subscriptions: Subscriptions) -> App {
    match speaks {
        Speaks::Http => App::serve(subscriptions.into_router().unwrap()).await,
        Speaks::Grpc => serve_grpc(subscriptions.into_app_callbacks(()).unwrap()).await,
    }
}

pub async fn serve_grpc(callbacks: AppCallbacks) -> App {
    let listener = TcpListener::bind(("127.0.0.1", free_port())).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder()
        .add_service(callbacks.app_callback())
        .add_service(callbacks.app_callback_alpha())
        .add_service(callbacks.health_check())
        .serve_with_incoming(TcpListenerStream::new(listener));
    App::served(address, tokio::spawn(async move { server.await.unwrap() }))
}

/// Names the app to its sidecar.
pub fn beside<'a>(builder: AppBuilder<'a>, speaks: Speaks, app: &App) -> AppBuilder<'a> {
    match speaks {
        Speaks::Http => builder.http(app),
        Speaks::Grpc => builder.grpc(app),
    }
}

/// An event, as far as tests look at it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub id: String,
    pub source: String,
    pub ty: String,
    pub subject: Option<String>,
    pub topic: Option<String>,
    pub content_type: Option<String>,
    pub data: Bytes,
    pub event: CloudEvent,
}

impl From<&CloudEvent> for Seen {
    fn from(event: &CloudEvent) -> Self {
        let text = |text: Option<&str>| text.map(str::to_owned);
        Self {
            id: event.id().unwrap_or_default().to_owned(),
            source: event.source().to_owned(),
            ty: event.ty().to_owned(),
            subject: text(event.subject()),
            topic: text(event.topic()),
            content_type: text(event.data_content_type()),
            data: event.data_bytes(),
            event: event.clone(),
        }
    }
}

pub fn ids(seen: &[Seen]) -> Vec<&str> {
    seen.iter().map(|seen| seen.id.as_str()).collect()
}

/// A handler that takes down what it is given.
pub fn take(seen: &Log<Seen>) -> impl Fn(CloudEvent) -> Ready<()> + Clone + Send + Sync + 'static {
    let seen = seen.clone();
    move |event| {
        seen.push(Seen::from(&event));
        ready(())
    }
}
