use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use dapr::dapr::proto::{
    common::v1::StreamPayload,
    runtime::v1::{
        DecryptRequest, DecryptRequestOptions, EncryptRequest, EncryptRequestOptions, dapr_client::DaprClient,
    },
};
use futures_util::{StreamExt, stream};
use tokio::sync::oneshot;
use tokio_stream::Stream;
use tonic::{CancellationHandle, Request, Status};

use super::{Dapr, DaprService, parts::Component};
use crate::Error;

const ENCRYPT: &str = "encrypt with";
const DECRYPT: &str = "decrypt with";
/// The most data in one message: far below the limit of 4 MiB.
const CHUNK: usize = 64 << 10;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Payloads = Pin<Box<dyn Stream<Item = Result<Option<StreamPayload>, Status>> + Send>>;

/// A cryptography component. Made by [`Dapr::crypto`]. Alpha in Dapr.
///
/// ```no_run
/// # async fn example(dapr: tower_dapr::outbound::Dapr) -> Result<(), tower_dapr::Error> {
/// let vault = dapr.crypto("vault");
/// let hidden = vault.encrypt("key-1", "RSA").bytes("attack at dawn").await?;
/// assert_eq!(vault.decrypt().bytes(hidden).await?, "attack at dawn");
/// # Ok(())
/// # }
/// ```
///
/// Data of any size goes through in pieces, with [`Encrypt::stream`] and [`Decrypt::stream`].
#[derive(Debug, Clone)]
pub struct Crypto {
    component: Component,
}

impl Crypto {
    pub(super) fn new(dapr: Dapr, component: String) -> Self {
        Self { component: Component::new(dapr, component) }
    }

    /// Encrypts with a key of the component, which wraps the data's own key with this algorithm: `A256KW` (or `AES`),
    /// `A128CBC`, `A192CBC`, `RSA-OAEP-256` (or `RSA`).
    pub fn encrypt(&self, key: impl Into<String>, key_wrap_algorithm: impl Into<String>) -> Encrypt {
        let options = EncryptRequestOptions {
            component_name: self.component.name().to_owned(),
            key_name: key.into(),
            key_wrap_algorithm: key_wrap_algorithm.into(),
            ..EncryptRequestOptions::default()
        };
        Encrypt { component: self.component.clone(), options }
    }

    /// Decrypts what [`encrypt`](Self::encrypt) made, with the key that it names.
    pub fn decrypt(&self) -> Decrypt {
        let component_name = self.component.name().to_owned();
        let options = DecryptRequestOptions { component_name, key_name: String::new() };
        Decrypt { component: self.component.clone(), options }
    }
}

/// An encryption to be. Made by [`Crypto::encrypt`].
#[derive(Clone)]
#[must_use = "nothing is encrypted without data"]
pub struct Encrypt {
    component: Component,
    options: EncryptRequestOptions,
}

impl Encrypt {
    /// The cipher for the data: `aes-gcm` (the default) or `chacha20-poly1305`.
    pub fn cipher(mut self, cipher: impl Into<String>) -> Self {
        self.options.data_encryption_cipher = cipher.into();
        self
    }

    /// The result names this key for its decryption, instead of the one that encrypted it.
    pub fn decryption_key(mut self, key: impl Into<String>) -> Self {
        self.options.decryption_key_name = key.into();
        self
    }

    /// The result names no key: who decrypts it must know ([`Decrypt::key`]).
    pub fn omit_key_name(mut self) -> Self {
        self.options.omit_decryption_key_name = true;
        self
    }

    /// Encrypts a stream. The call starts when the result is polled.
    ///
    /// # Errors
    ///
    /// Each item may be an error, and is the last then: what came before is not the whole. If the input fails, the call is
    /// cut and the input's error is the `source()`. Dropping the result cuts the call too.
    pub fn stream<S, E>(self, data: S) -> CipherStream
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let first = EncryptRequest { options: Some(self.options), payload: None };
        let make = |payload| EncryptRequest { options: None, payload: Some(payload) };
        let connect = async |mut client: DaprClient<DaprService>, request| {
            let answers = client.encrypt_alpha1(request).await?.into_inner();
            Ok(Box::pin(answers.map(|answer| answer.map(|answer| answer.payload))) as Payloads)
        };
        CipherStream::new(ENCRYPT, self.component, Input::new(first, make, data), connect)
    }

    /// Encrypts bytes.
    ///
    /// # Errors
    ///
    /// If the component's name is empty ([`Error::is_invalid`]), or the call fails, be it at the last byte.
    pub async fn bytes(self, data: impl Into<Bytes>) -> Result<Bytes, Error> {
        self.stream(stream::iter([Ok::<_, Infallible>(data.into())])).collect().await
    }
}

/// A decryption to be. Made by [`Crypto::decrypt`].
#[derive(Clone)]
#[must_use = "nothing is decrypted without data"]
pub struct Decrypt {
    component: Component,
    options: DecryptRequestOptions,
}

impl Decrypt {
    /// The key, for data that does not name its own, or names another.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.options.key_name = key.into();
        self
    }

    /// Decrypts a stream. The call starts when the result is polled.
    ///
    /// # Errors
    ///
    /// As [`Encrypt::stream`]. Data that was tampered with is found when its piece arrives, not before the first one.
    pub fn stream<S, E>(self, data: S) -> CipherStream
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let first = DecryptRequest { options: Some(self.options), payload: None };
        let make = |payload| DecryptRequest { options: None, payload: Some(payload) };
        let connect = async |mut client: DaprClient<DaprService>, request| {
            let answers = client.decrypt_alpha1(request).await?.into_inner();
            Ok(Box::pin(answers.map(|answer| answer.map(|answer| answer.payload))) as Payloads)
        };
        CipherStream::new(DECRYPT, self.component, Input::new(first, make, data), connect)
    }

    /// Decrypts bytes.
    ///
    /// # Errors
    ///
    /// As [`Encrypt::bytes`].
    pub async fn bytes(self, data: impl Into<Bytes>) -> Result<Bytes, Error> {
        self.stream(stream::iter([Ok::<_, Infallible>(data.into())])).collect().await
    }
}

impl fmt::Debug for Encrypt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encrypt").field("component", &self.component).finish_non_exhaustive()
    }
}

impl fmt::Debug for Decrypt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decrypt").field("component", &self.component).finish_non_exhaustive()
    }
}

/// Encrypted or decrypted data, piece by piece. Made by [`Encrypt::stream`] and [`Decrypt::stream`].
#[must_use = "nothing is sent until it is polled"]
pub struct CipherStream {
    operation: &'static str,
    component: Component,
    state: State,
    /// Tells the error of the input, once.
    failure: Option<oneshot::Receiver<BoxError>>,
    call: Option<Cut>,
    /// The number of the next piece.
    seq: u64,
}

/// Cuts the call when dropped: once daprd has answered, nothing else ends a request that is not sent to its end.
struct Cut(CancellationHandle);

impl Drop for Cut {
    fn drop(&mut self) {
        self.0.clone().cancel();
    }
}

enum State {
    Connecting(Pin<Box<dyn Future<Output = Result<Payloads, Error>> + Send>>),
    Streaming(Payloads),
    Done,
}

impl CipherStream {
    fn new<M, F>(
        operation: &'static str,
        component: Component,
        (input, failure): (Input<M>, oneshot::Receiver<BoxError>),
        connect: impl FnOnce(DaprClient<DaprService>, Request<Input<M>>) -> F + Send + 'static,
    ) -> Self
    where
        M: Send + 'static,
        F: Future<Output = Result<Payloads, Status>> + Send,
    {
        let target = component.clone();
        let mut request = Request::new(input);
        let call = Some(Cut(request.cancellation_handle()));
        let connecting = async move {
            let (client, _) = target.call(operation)?;
            connect(client, request).await.map_err(target.failed(operation))
        };
        let state = State::Connecting(Box::pin(connecting));
        Self { operation, component, state, failure: Some(failure), call, seq: 0 }
    }

    async fn collect(mut self) -> Result<Bytes, Error> {
        let mut whole = BytesMut::new();
        while let Some(piece) = self.next().await {
            whole.extend_from_slice(&piece?);
        }
        Ok(whole.freeze())
    }

    fn poll_failure(&mut self, cx: &mut Context<'_>) -> Option<BoxError> {
        let Poll::Ready(told) = Pin::new(self.failure.as_mut()?).poll(cx) else { return None };
        // Without an error: all input was read.
        self.failure = None;
        told.ok()
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        if let Some(error) = self.poll_failure(cx) {
            return Poll::Ready(Some(Err(Error::input(self.operation, self.component.name(), error))));
        }
        loop {
            match &mut self.state {
                State::Connecting(connecting) => match ready!(connecting.as_mut().poll(cx)) {
                    Ok(payloads) => self.state = State::Streaming(payloads),
                    Err(error) => return Poll::Ready(Some(Err(error))),
                },
                State::Streaming(payloads) => match ready!(payloads.as_mut().poll_next(cx)) {
                    Some(Ok(Some(payload))) if payload.seq != self.seq => {
                        let error = Error::protocol(self.operation, self.component.name(), "a piece is missing");
                        return Poll::Ready(Some(Err(error)));
                    }
                    Some(Ok(Some(payload))) => {
                        self.seq += 1;
                        if !payload.data.is_empty() {
                            return Poll::Ready(Some(Ok(payload.data.into())));
                        }
                    }
                    Some(Ok(None)) => {}
                    Some(Err(status)) => {
                        return Poll::Ready(Some(Err(self.component.failed(self.operation)(status))));
                    }
                    None => return Poll::Ready(None),
                },
                State::Done => return Poll::Ready(None),
            }
        }
    }
}

impl Stream for CipherStream {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = ready!(self.poll_piece(cx));
        if !matches!(piece, Some(Ok(_))) {
            // Cuts the call: after an error nothing more is sent, and nothing is taken for the end.
            self.call = None;
            self.state = State::Done;
            self.failure = None;
        }
        Poll::Ready(piece)
    }
}

impl fmt::Debug for CipherStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CipherStream").field("component", &self.component).finish_non_exhaustive()
    }
}

/// The data as messages: the options, then pieces, numbered from 0.
struct Input<M> {
    first: Option<M>,
    make: fn(StreamPayload) -> M,
    data: Pin<Box<dyn Stream<Item = Result<Bytes, BoxError>> + Send>>,
    rest: Bytes,
    seq: u64,
    failure: Option<oneshot::Sender<BoxError>>,
}

impl<M> Input<M> {
    fn new<S, E>(first: M, make: fn(StreamPayload) -> M, data: S) -> (Self, oneshot::Receiver<BoxError>)
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let (sender, receiver) = oneshot::channel();
        let data = Box::pin(data.map(|piece| piece.map_err(Into::into)));
        let input = Self { first: Some(first), make, data, rest: Bytes::new(), seq: 0, failure: Some(sender) };
        (input, receiver)
    }
}

// Nothing in it is pinned but what is boxed.
impl<M> Unpin for Input<M> {}

impl<M> Stream for Input<M> {
    type Item = M;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<M>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        loop {
            if !self.rest.is_empty() {
                let end = self.rest.len().min(CHUNK);
                let data = self.rest.split_to(end).into();
                let payload = StreamPayload { data, seq: self.seq };
                self.seq += 1;
                return Poll::Ready(Some((self.make)(payload)));
            }
            if self.failure.is_none() {
                // A stream of requests cannot say that it failed: its end would pass for the end of the data. So it does
                // not end; whoever reads the answers has been told, and cuts the call.
                return Poll::Pending;
            }
            match ready!(self.data.as_mut().poll_next(cx)) {
                Some(Ok(data)) => self.rest = data,
                Some(Err(error)) => drop(self.failure.take().map(|failure| failure.send(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}
