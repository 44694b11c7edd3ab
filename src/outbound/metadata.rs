use dapr::dapr::proto::runtime::v1::{GetMetadataResponse, SetMetadataRequest, ShutdownRequest};

use super::Dapr;
use crate::Error;

const SIDECAR: &str = "sidecar";

impl Dapr {
    /// What the sidecar says of itself: app id, components, subscriptions, version.
    ///
    /// # Errors
    ///
    /// If the call fails.
    pub async fn metadata(&self) -> Result<GetMetadataResponse, Error> {
        let answer = self.raw().get_metadata(dapr::dapr::proto::runtime::v1::GetMetadataRequest {}).await;
        Ok(answer.map_err(|status| Error::status("get metadata of", SIDECAR, status))?.into_inner())
    }

    /// Adds a label to the sidecar's [metadata](Self::metadata) (`extended_metadata`), until it ends.
    ///
    /// # Errors
    ///
    /// If the key is empty ([`Error::is_invalid`]; Dapr would ignore it and say OK), or the call fails.
    pub async fn set_metadata(&self, key: impl Into<String>, value: impl Into<String>) -> Result<(), Error> {
        const SET: &str = "set metadata of";
        let request = SetMetadataRequest { key: key.into(), value: value.into() };
        if request.key.is_empty() {
            return Err(Error::invalid(SET, SIDECAR, "the key is empty"));
        }
        self.raw().set_metadata(request).await.map_err(|status| Error::status(SET, SIDECAR, status))?;
        Ok(())
    }

    /// Asks the sidecar to end. It ends what it is doing first; then calls fail with `UNAVAILABLE`.
    ///
    /// # Errors
    ///
    /// If the call fails. The sidecar may be gone before it has answered: `UNAVAILABLE` then says what was asked for.
    pub async fn shutdown(&self) -> Result<(), Error> {
        let answer = self.raw().shutdown(ShutdownRequest {}).await;
        answer.map_err(|status| Error::status("shut down", SIDECAR, status))?;
        Ok(())
    }
}
