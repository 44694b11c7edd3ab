//! Accepting connections.

use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::tasks::Tasks;

/// Pause after a failed accept, such as no file descriptor left.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves each connection in a task of its own, until the task of this loop ends.
pub(super) async fn accept<F>(listener: TcpListener, tasks: Tasks, serve: impl Fn(TcpStream) -> F)
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Only a matter of latency.
                let _ = stream.set_nodelay(true);
                tasks.spawn(serve(stream));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
