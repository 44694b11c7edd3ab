//! A Dapr that keeps each request and answers as it is told to: in memory, without a socket, so that paused time works.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use prost::Message;
use tonic::{Code, Status, body::Body};
use tower::Service;
use tower_dapr::outbound::Dapr;

/// The server. Clones are the same.
#[derive(Clone, Default)]
pub struct DaprServer {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    seen: Vec<Seen>,
    answers: HashMap<&'static str, VecDeque<Answer>>,
}

/// A request as it came in. Of a stream of requests: all of them.
#[derive(Clone, Debug)]
pub struct Seen {
    pub path: String,
    pub headers: HeaderMap,
    pub messages: Vec<Bytes>,
}

/// How to answer one call.
#[derive(Default)]
pub struct Answer {
    head: Vec<(&'static str, &'static str)>,
    messages: Vec<Vec<u8>>,
    status: Option<Status>,
    hangs: bool,
    held_by: Option<Arc<()>>,
}

impl DaprServer {
    /// A handle over it.
    pub fn dapr(&self) -> Dapr {
        Dapr::new(self.clone())
    }

    /// Answers the next call of this rpc that has no answer yet. Without one, a call is answered with an empty message.
    pub fn answer(&self, rpc: &'static str, answer: Answer) -> &Self {
        self.state.lock().unwrap().answers.entry(rpc).or_default().push_back(answer);
        self
    }

    /// All requests so far, by the last part of their paths.
    pub fn rpcs(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.seen.iter().map(|seen| seen.path.rsplit('/').next().unwrap().to_owned()).collect()
    }

    /// The requests of this rpc so far.
    pub fn seen(&self, rpc: &str) -> Vec<Seen> {
        let state = self.state.lock().unwrap();
        state.seen.iter().filter(|seen| seen.path.rsplit('/').next() == Some(rpc)).cloned().collect()
    }

    /// The message of the one request of this rpc.
    pub fn one<M: Message + Default>(&self, rpc: &str) -> M {
        let mut all = self.all(rpc);
        assert_eq!(all.len(), 1, "{rpc}: {:?}", self.rpcs());
        all.remove(0)
    }

    /// The messages of all requests of this rpc.
    pub fn all<M: Message + Default>(&self, rpc: &str) -> Vec<M> {
        self.seen(rpc).iter().flat_map(Seen::decoded).collect()
    }
}

impl Seen {
    pub fn decoded<M: Message + Default>(&self) -> Vec<M> {
        self.messages.iter().map(|message| M::decode(message.clone()).unwrap()).collect()
    }
}

impl Answer {
    pub fn message(message: &impl Message) -> Self {
        Self::messages([message])
    }

    pub fn messages<'a, M: Message + 'a>(messages: impl IntoIterator<Item = &'a M>) -> Self {
        Self { messages: messages.into_iter().map(Message::encode_to_vec).collect(), ..Self::default() }
    }

    /// As daprd fails: a head that says nothing, then trailers.
    pub fn error(code: Code, message: &str) -> Self {
        Self::status(Status::new(code, message))
    }

    pub fn status(status: Status) -> Self {
        Self { status: Some(status), ..Self::default() }
    }

    pub fn head(mut self, name: &'static str, value: &'static str) -> Self {
        self.head.push((name, value));
        self
    }

    /// Fails behind the messages.
    pub fn then_error(mut self, code: Code) -> Self {
        self.status = Some(Status::new(code, "broken off"));
        self
    }

    /// Stays open behind the messages.
    pub fn then_hang(mut self) -> Self {
        self.hangs = true;
        self
    }

    /// Lets one see whether the call still lives: its body keeps a clone.
    pub fn held_by(mut self, call: &Arc<()>) -> Self {
        self.held_by = Some(call.clone());
        self
    }

    fn into_response(self) -> Response<Body> {
        let mut trailers = HeaderMap::new();
        let status = self.status.unwrap_or_else(|| Status::ok(""));
        status.add_header(&mut trailers).unwrap();
        let data = self.messages.into_iter().map(|message| {
            let mut frame = vec![0];
            frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
            frame.extend(message);
            Frame::data(Bytes::from(frame))
        });
        let held_by = self.held_by;
        let frames = stream::iter(data.map(Ok::<_, Infallible>).collect::<Vec<_>>());
        let body = if self.hangs {
            let never = stream::poll_fn(move |_| {
                let _ = &held_by;
                Poll::Pending
            });
            Body::new(StreamBody::new(frames.chain(never)))
        } else {
            Body::new(StreamBody::new(frames.chain(stream::iter([Ok(Frame::trailers(trailers))]))))
        };
        let mut response = Response::new(body);
        response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        for (name, value) in self.head {
            response.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        response
    }
}

impl Service<Request<Body>> for DaprServer {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let state = self.state.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let mut data = body.collect().await.unwrap().to_bytes();
            let mut messages = Vec::new();
            while data.has_remaining() {
                assert_eq!(data.get_u8(), 0, "not compressed");
                let length = data.get_u32() as usize;
                messages.push(data.split_to(length));
            }
            let mut state = state.lock().unwrap();
            let path = head.uri.path().to_owned();
            let rpc = path.rsplit('/').next().unwrap();
            let answer = state.answers.get_mut(rpc).and_then(VecDeque::pop_front);
            state.seen.push(Seen { path, headers: head.headers, messages });
            Ok(answer.unwrap_or_else(|| Answer { messages: vec![Vec::new()], ..Answer::default() }).into_response())
        })
    }
}
