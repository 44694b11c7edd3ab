use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};
use tonic::Code;

use super::State;
use crate::{Error, outbound::backoff::Backoff};

/// How often a value is read and written before the last conflict is reported.
const ATTEMPTS: u32 = 16;

impl State {
    /// Reads a value, changes it, and writes it back; again from the start if somebody else wrote in between. Gives what
    /// was written.
    ///
    /// `change` is called once for each attempt, with `None` if there is no value. At most 16 attempts, with growing random
    /// pauses from 5 ms to 200 ms between them.
    ///
    /// ```no_run
    /// # async fn example(dapr: tower_dapr::outbound::Dapr) -> Result<(), tower_dapr::Error> {
    /// let visits = dapr.state("statestore").update("visits", |visits: Option<u64>| visits.unwrap_or(0) + 1).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The first write of a key relies on [`first_write`](super::Save::first_write), which says what is special in Redis.
    ///
    /// # Errors
    ///
    /// * [`Error::is_etag_mismatch`]: others were faster each time.
    /// * [`Error::is_decode`]: the value is not a `T`.
    /// * [`Error::is_invalid`]: the value cannot be written as JSON, the key is empty, or the store gives no etags.
    /// * Reading or writing failed. If writing did, it is not known whether the value has changed: this is why it is not
    ///   tried again.
    pub async fn update<T, F>(&self, key: impl Into<String>, mut change: F) -> Result<T, Error>
    where
        T: Serialize + DeserializeOwned + 'static,
        F: FnMut(Option<T>) -> T,
    {
        let key = key.into();
        let mut backoff = Backoff::new(Duration::from_millis(5), Duration::from_millis(200));
        let mut attempts = 0;
        loop {
            attempts += 1;
            let (old, etag) = self.get(key.clone()).await?.map(|entry| (entry.value, entry.etag)).unzip();
            let value = change(old);
            let save = self.save(key.clone(), &value);
            let is_first = etag.is_none();
            let save = match etag {
                Some(etag) => save.if_match(etag),
                None => save.first_write(),
            };
            match save.await {
                Ok(()) => return Ok(value),
                Err(error) if is_conflict(&error, is_first) && attempts < ATTEMPTS => backoff.pause().await,
                Err(error) => return Err(error),
            }
        }
    }
}

/// Redis' store calls it INTERNAL when the script that writes finds an item where it should write the first: nothing was
/// written then (`dapr/components-contrib:state/redis/redis.go`, `setDefaultQuery`).
fn is_conflict(error: &Error, is_first: bool) -> bool {
    error.is_etag_mismatch()
        || is_first && error.code() == Some(Code::Internal) && error.message().contains("user_script")
}
