//! Over real connections: tonic's channel and hyper's client against servers that fail as real ones do.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::{GetStateRequest, PublishEventRequest, dapr_client::DaprClient};
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Notify,
    task::JoinHandle,
};
use tonic::{Code, transport::Channel};
use tower::Layer;
use tower_dapr::{
    deadline::DeadlineLayer,
    retry::{Backoff, Budget, Retry, RetryLayer, RetryPolicy},
};

const MS: Duration = Duration::from_millis(1);

#[derive(Debug, Clone, Copy)]
enum Reply {
    Ok,
    /// A head that says nothing, then this status.
    Fails(Code),
    Refuses,
    /// The head, and then the end of the stream.
    BreaksOff,
    /// A message, and then the end of the stream.
    BreaksOffLater,
    Hangs,
}

/// A gRPC server that answers its requests by their number.
struct Server {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn new(script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind(("127.0.0.1", 0)).await.unwrap(), false, script)
    }

    fn on(listener: TcpListener, goes_away: bool, script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let (counter, script) = (requests.clone(), Arc::new(script));
        let task = tokio::spawn(async move {
            let mut first = goes_away;
            while let Ok((stream, _)) = listener.accept().await {
                if std::mem::take(&mut first) {
                    tokio::spawn(go_away(stream));
                    continue;
                }
                let (counter, script) = (counter.clone(), script.clone());
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        let reply = script(counter.fetch_add(1, SeqCst));
                        tokio::spawn(answer(request, respond, reply));
                    }
                });
            }
        });
        Self { address, requests, task }
    }

    fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }
}

async fn answer(request: Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>, reply: Reply) {
    let mut body = request.into_body();
    if matches!(reply, Reply::Refuses) {
        return respond.send_reset(h2::Reason::REFUSED_STREAM);
    }
    while let Some(Ok(data)) = body.data().await {
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    if matches!(reply, Reply::Hangs) {
        std::future::pending::<()>().await;
    }
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut stream = respond.send_response(head, false).unwrap();
    if matches!(reply, Reply::Ok | Reply::BreaksOffLater) {
        stream.send_data(Bytes::from_static(b"\0\0\0\0\0"), false).unwrap();
    }
    let code = match reply {
        Reply::Ok => Code::Ok,
        Reply::Fails(code) => code,
        _ => {
            // A reset takes back what has not been sent yet.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            return stream.send_reset(h2::Reason::INTERNAL_ERROR);
        }
    };
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), (code as i32).into())]);
    stream.send_trailers(trailers).unwrap();
}

/// Waits for the first request, and says that it will handle none.
async fn go_away(mut stream: TcpStream) {
    stream.read_exact(&mut [0; 24]).await.unwrap();
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        stream.read_exact(&mut vec![0; length]).await.unwrap();
        if head[3] == 1 {
            break;
        }
    }
    // GOAWAY, last stream 0, NO_ERROR.
    stream.write_all(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).await.unwrap();
    stream.flush().await.unwrap();
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

fn channel(address: SocketAddr) -> Channel {
    tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy()
}

fn fast() -> RetryPolicy {
    RetryPolicy::new().with_backoff(Backoff::new(MS, MS).with_floor(MS))
}

fn client(address: SocketAddr, policy: RetryPolicy) -> DaprClient<Retry<Channel>> {
    DaprClient::new(RetryLayer::new(policy).layer(channel(address)))
}

fn get() -> GetStateRequest {
    GetStateRequest { store_name: "s".into(), key: "k".into(), ..Default::default() }
}

#[tokio::test]
async fn a_sidecar_that_fails_twice_is_asked_three_times() {
    let server = Server::new(|n| if n < 2 { Reply::Fails(Code::Unavailable) } else { Reply::Ok }).await;
    client(server.address, fast()).get_state(get()).await.unwrap();
    assert_eq!(server.requests(), 3);
    let server = Server::new(|_| Reply::Fails(Code::Unavailable)).await;
    let status = client(server.address, fast()).get_state(get()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(server.requests(), 3);
}

#[tokio::test]
async fn a_refused_stream_is_opened_again_also_for_a_publish() {
    let server = Server::new(|n| if n == 0 { Reply::Refuses } else { Reply::Ok }).await;
    client(server.address, fast()).publish_event(PublishEventRequest::default()).await.unwrap();
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn a_request_above_the_servers_goaway_is_sent_on_a_new_connection() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let server = Server::on(listener, true, |_| Reply::Ok);
    client(server.address, fast()).publish_event(PublishEventRequest::default()).await.unwrap();
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn what_was_or_may_have_been_executed_is_not_published_again() {
    for reply in [Reply::Fails(Code::Unavailable), Reply::BreaksOff, Reply::BreaksOffLater] {
        let server = Server::new(move |_| reply).await;
        client(server.address, fast()).publish_event(PublishEventRequest::default()).await.unwrap_err();
        assert_eq!(server.requests(), 1, "{reply:?}");
    }
    for reply in [Reply::BreaksOff, Reply::BreaksOffLater] {
        let server = Server::new(move |_| reply).await;
        client(server.address, fast()).get_state(get()).await.unwrap_err();
        assert_eq!(server.requests(), 1, "the answer had begun: {reply:?}");
    }
}

#[tokio::test]
async fn a_sidecar_that_comes_up_late_is_waited_for() {
    // Nobody listens on this address until the first attempt has failed, nor can anybody else.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    let failed = Arc::new(Notify::new());
    let hook = failed.clone();
    let policy = fast().without_budget().with_max_attempts(10_000).with_random(move || {
        hook.notify_one();
        0
    });
    let start = async {
        failed.notified().await;
        Server::on(socket.listen(16).unwrap(), false, |_| Reply::Ok)
    };
    let mut client = client(address, policy);
    let (answer, server) = tokio::join!(client.publish_event(PublishEventRequest::default()), start);
    answer.unwrap();
    assert_eq!(server.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_sidecar_that_hangs_is_given_up_and_asked_again() {
    let server = Server::new(|n| if n == 0 { Reply::Hangs } else { Reply::Ok }).await;
    let stack = tower::ServiceBuilder::new()
        .layer(RetryLayer::new(fast()))
        .layer(DeadlineLayer::per_attempt(200 * MS))
        .service(channel(server.address));
    DaprClient::new(stack).get_state(get()).await.unwrap();
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn a_deadline_over_a_channel_is_a_deadline() {
    let server = Server::new(|_| Reply::Hangs).await;
    let stack = DeadlineLayer::per_call(50 * MS).layer(channel(server.address));
    let status = DaprClient::new(stack).get_state(get()).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_sidecar_that_is_down_gets_no_multiple_of_the_load() {
    let server = Server::new(|_| Reply::Fails(Code::Unavailable)).await;
    let client = client(server.address, fast().with_budget(Budget::default()));
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    client.get_state(get()).await.unwrap_err();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let amplification = server.requests() as f64 / 2000.0;
    assert!(amplification <= 1.10, "{amplification}");
}

#[tokio::test]
async fn a_plain_http_client_is_retried() {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = requests.clone();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let counter = counter.clone();
            let service = hyper::service::service_fn(move |_| {
                let status = if counter.fetch_add(1, SeqCst) == 0 { 503 } else { 200 };
                async move { Response::builder().status(status).body(Full::new(Bytes::new())) }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    let http = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let mut stack = RetryLayer::new(fast()).layer(http);
    let request = |uri: String| Request::put(uri).body(Full::new(Bytes::from_static(b"stock"))).unwrap();
    let response = tower::Service::call(&mut stack, request(format!("http://{address}/stock"))).await.unwrap();
    assert_eq!((response.status().as_u16(), requests.load(SeqCst)), (200, 2));
    task.abort();
    let _ = task.await;

    // Nobody listens: also a POST may be sent again.
    let taken = TcpSocket::new_v4().unwrap();
    taken.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let unused = taken.local_addr().unwrap();
    let counted = Arc::new(AtomicUsize::new(0));
    let counter = counted.clone();
    let policy = fast().with_random(move || counter.fetch_add(1, SeqCst) as u64);
    let mut stack = RetryLayer::new(policy).layer(Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>());
    let post = Request::post(format!("http://{unused}/stock")).body(Full::new(Bytes::new())).unwrap();
    assert!(tower::Service::call(&mut stack, post).await.unwrap_err().is_connect());
    assert_eq!(counted.load(SeqCst), 2, "waits drawn");
}

#[tokio::test]
async fn all_layers_fit_together_around_a_channel() {
    use tower_dapr::{
        breaker::BreakerLayer,
        metrics::MetricsLayer,
        observe::ObserveLayer,
        outbound::{ApiTokenLayer, Dapr},
        retry::is_retry,
        trace::TraceLayer,
    };

    let server = Server::new(|n| if n == 0 { Reply::Fails(Code::Unavailable) } else { Reply::Ok }).await;
    let stack = tower::ServiceBuilder::new()
        .layer(ObserveLayer::new((TraceLayer::client(), MetricsLayer::client())))
        .layer(DeadlineLayer::per_call(60_000 * MS))
        .layer(RetryLayer::new(fast()))
        .layer(TraceLayer::client().with_filter(is_retry))
        .layer(BreakerLayer::default())
        .layer(DeadlineLayer::per_attempt(30_000 * MS))
        .layer(ApiTokenLayer::new(None))
        .service(channel(server.address));
    assert!(Dapr::new(stack).state("s").get::<u32>("k").await.unwrap().is_none());
    assert_eq!(server.requests(), 2);
}
