//! Faults on purpose, for tests of what an app does about them.

use std::sync::Mutex;
use std::time::Duration;

use tonic::Code;

use super::lock::lock;

/// What goes wrong with a call of the gRPC API. See [`Hub::inject`](super::Hub::inject).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The call fails with this code, in the shape that daprd's errors have. Its handler does not run.
    Fail(Code),
    /// The handler runs, and then the call fails with this code: what it did is done, and its caller cannot know.
    Lost(Code),
    /// The call is answered this much later, on tokio's time. Its handler runs after that.
    Delay(Duration),
    /// The answer breaks off behind its headers, and the connection lives on. The handler does not run.
    HangUp,
    /// The handler runs, and the connection is cut behind the headers of its answer, with all the calls on it.
    CutBehindHead,
    /// The handler runs, and the connection is cut behind the first message of its answer, before the status.
    CutBehindMessage,
    /// The answer ends without a status: HEADERS and trailers have no `grpc-status`. The handler does not run.
    NoStatus,
    /// The trailers have this for a `grpc-status`, such as `"done"`. The handler does not run.
    BadStatus(String),
    /// The connection goes away in HTTP/2's way: `GOAWAY` names the last call that is handled, and this is none of them,
    /// nor is any later one on the connection. The calls before it go on. The handler does not run.
    GoAway,
}

#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<Vec<Planned>>);

#[derive(Debug)]
struct Planned {
    rpc: String,
    fault: Fault,
    times: u32,
}

// ===== impl Faults =====

impl Faults {
    pub(super) fn plan(&self, rpc: &str, fault: Fault, times: u32) {
        lock(&self.0).push(Planned { rpc: rpc.to_owned(), fault, times });
    }

    /// The fault of the next call of this rpc, the earliest planned first.
    pub(super) fn take(&self, rpc: &str) -> Option<Fault> {
        let mut planned = lock(&self.0);
        planned.retain(|one| one.times > 0);
        let next = planned.iter_mut().find(|one| one.rpc == rpc)?;
        next.times -= 1;
        Some(next.fault.clone())
    }
}
