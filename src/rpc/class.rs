use std::fmt;

/// The part of Dapr that a call belongs to.
///
/// [`as_str`](Self::as_str) gives the value of the attribute `dapr.building_block`.
///
/// ```
/// use tower_dapr::rpc::{BuildingBlock, Rpc};
///
/// let rpc = Rpc::lookup("/dapr.proto.runtime.v1.Dapr/GetSecret").ok_or("a call of Dapr")?;
/// assert_eq!(rpc.block(), BuildingBlock::Secrets);
/// assert_eq!(rpc.block().as_str(), "secrets");
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BuildingBlock {
    /// Virtual actors: their methods, state, timers and reminders.
    Actors,
    /// Input and output bindings.
    Bindings,
    /// Configuration stores.
    Configuration,
    /// Conversations with language models.
    Conversation,
    /// Encryption, signatures and keys.
    Crypto,
    /// The app's own health, asked by the sidecar.
    Health,
    /// Service invocation.
    Invoke,
    /// Scheduled jobs.
    Jobs,
    /// Distributed locks.
    Lock,
    /// What the sidecar knows about itself.
    Metadata,
    /// Publish and subscribe.
    Pubsub,
    /// Search indexes. In the protobuf files of crate `dapr` 0.20, in no released daprd.
    Search,
    /// Secret stores.
    Secrets,
    /// The end of the sidecar.
    Shutdown,
    /// State stores.
    State,
    /// Vector collections. In the protobuf files of crate `dapr` 0.20, in no released daprd.
    Vector,
    /// Workflows.
    Workflow,
}

/// May a call be sent again when nobody knows whether the first attempt was executed?
///
/// A call that certainly never reached its handler (no connection, `REFUSED_STREAM`, refused token) may be sent again
/// whatever its class, except [`Never`](Self::Never). The classes are about all other failures.
///
/// [`Rpc::safety`](super::Rpc::safety) is the class by the path alone, [`Rpc::safety_of`](super::Rpc::safety_of) looks
/// into the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Safety {
    /// Changes nothing. Safe on `UNAVAILABLE`, on `RESOURCE_EXHAUSTED` after a backoff, and on an attempt's deadline
    /// while the call's own has time left. On `INTERNAL` only if the caller says so.
    Read,
    /// Doing it twice leaves what doing it once leaves. Safe on the same codes as a read, except `INTERNAL`; a late
    /// attempt may overwrite what another writer wrote in between.
    ///
    /// A state store's write is one only while it carries no etag and does not ask for first-write: such a request is
    /// a [`ConditionalWrite`](Self::ConditionalWrite). A state transaction in a store with an outbox publishes again.
    IdempotentWrite,
    /// Takes effect at most once, but the second answer may be a false conflict (`ABORTED`, `ALREADY_EXISTS`, a lock
    /// that "does not exist"). Send again only on `RESOURCE_EXHAUSTED`, or if the caller can read again and compare.
    ConditionalWrite,
    /// Publishes a message. Sent twice it may be delivered twice, under two event ids unless the caller fixed the id:
    /// send again only for a caller who asked for at-least-once.
    Publish,
    /// Does something that cannot be taken back or is not known here: a binding, an invoked method, a lock, a
    /// workflow's event. Send again only if the caller says, for this call or method, that it may be repeated.
    Effect,
    /// A stream. May be opened again until the response's head came; after that only the caller knows where it stood.
    Stream,
    /// Never send again: a sidecar that was told to shut down is expected to be unavailable.
    Never,
}

/// How many messages flow in each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Streaming {
    /// One request, one response.
    Unary,
    /// One request, many responses.
    ServerStream,
    /// Many requests, one response. No call of Dapr is of this kind today.
    ClientStream,
    /// Many of both.
    Bidi,
}

/// What the name is that [`Names::component`](super::Names::component) holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NameKind {
    /// The call names nothing of bounded number.
    None,
    /// A component: a store, a broker, a binding, a workflow engine.
    Component,
    /// The app id of the callee.
    AppId,
    /// An actor's type.
    ActorType,
}

// ===== impl BuildingBlock =====

impl BuildingBlock {
    /// The name in lower case, as Dapr's documentation spells it: `state`, `pubsub`, `invoke`, and so on.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Actors => "actors",
            Self::Bindings => "bindings",
            Self::Configuration => "configuration",
            Self::Conversation => "conversation",
            Self::Crypto => "crypto",
            Self::Health => "health",
            Self::Invoke => "invoke",
            Self::Jobs => "jobs",
            Self::Lock => "lock",
            Self::Metadata => "metadata",
            Self::Pubsub => "pubsub",
            Self::Search => "search",
            Self::Secrets => "secrets",
            Self::Shutdown => "shutdown",
            Self::State => "state",
            Self::Vector => "vector",
            Self::Workflow => "workflow",
        }
    }
}

impl fmt::Display for BuildingBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
