use std::{fmt::Debug, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

/// How long what is to happen may take, on a machine that is busy with something else.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What happened in a test's app, to be waited for. A clone is the same log.
#[derive(Clone)]
pub struct Log<T>(watch::Sender<Vec<T>>);

impl<T: Clone + Debug> Log<T> {
    pub fn push(&self, entry: T) {
        self.0.send_modify(|log| log.push(entry));
    }

    pub fn all(&self) -> Vec<T> {
        self.0.borrow().clone()
    }

    /// Waits until it holds, and gives all that happened until then.
    ///
    /// # Panics
    ///
    /// With what happened, if it does not hold in time.
    pub async fn until(&self, what: &str, mut holds: impl FnMut(&[T]) -> bool) -> Vec<T> {
        let mut log = self.0.subscribe();
        let waited = timeout(PATIENCE, log.wait_for(|log| holds(log))).await.map(|log| log.unwrap().clone());
        waited.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}; but {:#?}", self.all()))
    }

    /// Waits for that many entries.
    pub async fn until_len(&self, len: usize) -> Vec<T> {
        self.until(&format!("{len} entries"), |log| log.len() >= len).await
    }
}

impl<T> Default for Log<T> {
    fn default() -> Self {
        Self(watch::Sender::new(Vec::new()))
    }
}

/// Asks again until it holds.
///
/// # Panics
///
/// If it does not in time.
pub async fn eventually(what: &str, holds: impl AsyncFnMut() -> bool) {
    eventually_within(PATIENCE, what, holds).await;
}

/// The same, with another time.
pub async fn eventually_within(within: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < within, "not within {within:?}: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}
