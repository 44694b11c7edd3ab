use std::{collections::HashMap, fmt};

use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::{InvokeBindingRequest, InvokeBindingResponse};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Dapr,
    parts::{Component, Metadata, Payload, sent_when_awaited},
};
use crate::Error;

const INVOKE: &str = "invoke binding";

/// An output binding. Made by [`Dapr::binding`].
///
/// ```no_run
/// # async fn example(dapr: tower_dapr::outbound::Dapr) -> Result<(), tower_dapr::Error> {
/// let reports = dapr.binding("reports");
/// reports.invoke("create").metadata("fileName", "today.json").json(&[1, 2, 3]).await?;
/// let today: Vec<u32> = reports.invoke("get").metadata("fileName", "today.json").await?.json()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Binding {
    binding: Component,
}

impl Binding {
    pub(super) fn new(dapr: Dapr, name: String) -> Self {
        Self { binding: Component::new(dapr, name) }
    }

    /// An operation of the binding, as `create`, `get` or `list`: the component's documentation names them. Sent when
    /// awaited.
    pub fn invoke(&self, operation: impl Into<String>) -> BindingRequest {
        BindingRequest {
            binding: self.binding.clone(),
            operation: operation.into(),
            data: Payload::default(),
            metadata: Metadata::default(),
        }
    }
}

/// An operation of a binding that is not sent yet. Made by [`Binding::invoke`]; sent when awaited.
///
/// # Errors
///
/// When awaited: if the data cannot be written as JSON or the binding's name is empty ([`Error::is_invalid`]; nothing was
/// sent), or the call fails; daprd says `INTERNAL` whatever the reason.
#[derive(Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct BindingRequest {
    binding: Component,
    operation: String,
    data: Payload,
    metadata: Metadata,
}

impl BindingRequest {
    /// The data: this value as JSON.
    pub fn json<T: Serialize + ?Sized>(mut self, data: &T) -> Self {
        self.data = Payload::json(data);
        self
    }

    /// The data: these bytes.
    pub fn bytes(mut self, data: impl Into<Bytes>) -> Self {
        self.data = Payload::bytes(data);
        self
    }

    /// Metadata for the component.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.0.insert(key.into(), value.into());
        self
    }

    async fn send(self) -> Result<BindingResponse, Error> {
        let Self { binding, operation, data, metadata } = self;
        let (mut client, name) = binding.call(INVOKE)?;
        let data = data.take(INVOKE, &name)?;
        let request = InvokeBindingRequest { name, data, metadata: metadata.0, operation };
        let answer = client.invoke_binding(request).await.map_err(binding.failed(INVOKE))?.into_inner();
        Ok(BindingResponse { binding, answer })
    }
}

sent_when_awaited! {
    BindingRequest => BindingResponse;
}

/// The answer of a binding.
#[derive(Clone)]
pub struct BindingResponse {
    binding: Component,
    answer: InvokeBindingResponse,
}

impl BindingResponse {
    /// The data.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.answer.data
    }

    /// The data, read as JSON.
    ///
    /// # Errors
    ///
    /// If the data is not a `T` ([`Error::is_decode`]).
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.binding.decode(INVOKE, &self.answer.data)
    }

    /// What the component says beside the data.
    #[must_use]
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.answer.metadata
    }
}

/// Neither data nor metadata.
impl fmt::Debug for BindingResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BindingResponse").field("binding", &self.binding).finish_non_exhaustive()
    }
}
