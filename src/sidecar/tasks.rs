//! Every task of one sidecar, so that none outlives it.

use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Spawns tasks that end when the sidecar ends. hyper gets it as its executor, so the tasks of its connections and
/// streams are among them.
#[derive(Clone, Debug)]
pub(super) struct Tasks {
    token: CancellationToken,
    tracker: TaskTracker,
}

// ===== impl Tasks =====

impl Tasks {
    /// Tasks that end with `parent` or by [`cancel`](Self::cancel), whatever comes first.
    pub(super) fn child_of(parent: &CancellationToken) -> Self {
        Self { token: parent.child_token(), tracker: TaskTracker::new() }
    }

    pub(super) fn spawn<F>(&self, task: F)
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        let token = self.token.clone();
        self.tracker.spawn(async move {
            token.run_until_cancelled_owned(task).await;
        });
    }

    /// Tells all tasks to end: each is dropped at its next wake-up, which is now.
    pub(super) fn cancel(&self) {
        self.token.cancel();
    }

    /// Waits until the last task is gone. Call [`cancel`](Self::cancel) first.
    pub(super) async fn join(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        self.spawn(task);
    }
}
