//! Where the embedded sidecar and a daprd with the components of `deploy/` must differ: all of it, and why. Each test that
//! comes across one asserts both sides.

use tonic::Code;

use super::world::Backend;

/// What is seen beside each of them.
#[derive(Debug, Clone, Copy)]
pub struct Difference<T> {
    pub embedded: T,
    pub real: T,
}

impl<T> Difference<T> {
    pub fn on(self, backend: Backend) -> T {
        match backend {
            Backend::Embedded => self.embedded,
            Backend::Real => self.real,
        }
    }
}

/// How a key was written before, how it is written now, and what that is answered with.
pub struct Written {
    pub before: Option<Write>,
    pub now: Write,
    pub in_memory: Option<Code>,
    pub in_redis: Option<Code>,
}

#[derive(Debug, Clone, Copy)]
pub enum Write {
    Plain,
    /// Only over the item with this etag.
    Etag(&'static str),
    /// As a first write, without an etag.
    First,
}

/// `state.in-memory`, which is daprd's and the embedded sidecar's alike, and `state.redis`.
pub const WRITTEN: [Written; 8] = [
    written(Some(Write::Plain), Write::Plain, None, None),
    written(Some(Write::Plain), Write::Etag("7000"), Some(Code::Aborted), Some(Code::Aborted)),
    // Redis' etags are numbers.
    written(Some(Write::Plain), Write::Etag("x"), Some(Code::Aborted), Some(Code::InvalidArgument)),
    // An etag of what does not exist: Redis writes.
    written(None, Write::Etag("7"), Some(Code::Aborted), None),
    written(None, Write::First, None, None),
    // Redis takes a first write for one only if the write before was one as well; and then it is no mismatch.
    written(Some(Write::Plain), Write::First, Some(Code::Aborted), None),
    written(Some(Write::First), Write::First, Some(Code::Aborted), Some(Code::Internal)),
    // In Redis, a key that was once written as a first write can never again be written without its etag.
    written(Some(Write::First), Write::Plain, None, Some(Code::Internal)),
];

const fn written(before: Option<Write>, now: Write, in_memory: Option<Code>, in_redis: Option<Code>) -> Written {
    Written { before, now, in_memory, in_redis }
}

/// Does a read say when the value expires? The in-memory store does, Redis' does not.
pub const TELLS_EXPIRY: Difference<bool> = Difference { embedded: true, real: false };

/// A transaction of which one write has a stale etag fails. Redis makes the others all the same: its `MULTI` takes back nothing.
pub const FAILED_TRANSACTION_WRITES: Difference<bool> = Difference { embedded: false, real: true };

/// What a query is answered with: Redis needs its search module, which is not there; the in-memory store cannot at all.
pub const QUERY: Difference<&str> =
    Difference { embedded: "does not support", real: "redis-json server support is required" };

/// The version in the metadata: the embedded sidecar is none of Dapr's.
pub const VERSION: Difference<&str> = Difference { embedded: "1.18", real: "1.18.2" };

/// A gRPC call for an app that is said to speak HTTP. daprd tries; axum's server, which understands HTTP/2 as well, has no
/// such route. The embedded sidecar answers as daprd does for a server that does not.
pub const GRPC_TO_HTTP: Difference<Code> = Difference { embedded: Code::Unavailable, real: Code::Unimplemented };
