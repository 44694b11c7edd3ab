use super::{
    class::{BuildingBlock, NameKind, Safety, Streaming},
    condition::Condition,
    index, table,
};

/// One call of Dapr: a row of the table.
///
/// See the [module docs](crate::rpc) for an example.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rpc {
    path: &'static str,
    service: &'static str,
    method: &'static str,
    block: BuildingBlock,
    safety: Safety,
    condition: Condition,
    streaming: Streaming,
    name_kind: NameKind,
    component: &'static [u32],
    destination: &'static [u32],
    number: u8,
}

// ===== impl Rpc =====

impl Rpc {
    /// The row of a request's path, as it stands in the URI: `/dapr.proto.runtime.v1.Dapr/GetState`.
    ///
    /// `None` if the path is none of Dapr's, for example that of an application's own service. Case matters, as in
    /// gRPC. Cheap enough for every request: no allocation, no table built at run time.
    #[inline]
    pub fn lookup(path: &str) -> Option<&'static Self> {
        index::lookup(path)
    }

    /// All rows, ordered by [path](Self::path).
    pub fn all() -> impl Iterator<Item = &'static Self> {
        table::ROWS.iter()
    }

    /// The path in the URI, `/dapr.proto.runtime.v1.Dapr/GetState`.
    pub const fn path(&self) -> &'static str {
        self.path
    }

    /// The path without its leading slash, `dapr.proto.runtime.v1.Dapr/GetState`: what OpenTelemetry calls
    /// `rpc.method` and names the span after (semantic conventions 1.44, RPC spans).
    pub fn full_method(&self) -> &'static str {
        &self.path[1..]
    }

    /// The protobuf service, `dapr.proto.runtime.v1.Dapr`.
    pub const fn service(&self) -> &'static str {
        self.service
    }

    /// The method within the service, `GetState`.
    pub const fn method(&self) -> &'static str {
        self.method
    }

    /// The building block that the call belongs to.
    pub const fn block(&self) -> BuildingBlock {
        self.block
    }

    /// May the call be sent again? By the path alone: see [`Safety`] for what each class promises, and
    /// [`safety_of`](Self::safety_of) for the calls where the request decides.
    pub const fn safety(&self) -> Safety {
        self.safety
    }

    /// May this very call be sent again? Looks into the request where its content decides.
    ///
    /// `body` is the start of the request's body, as for [`Names::read`](super::Names::read); more of it gives a better
    /// answer. What cannot be seen (cut off, compressed, not readable, too many fields) counts against the caller: the
    /// answer is then the strictest that the path allows. The request decides for:
    ///
    /// | call | by | answer |
    /// | --- | --- | --- |
    /// | `SaveState`, `DeleteState`, `DeleteBulkState`, `ExecuteStateTransaction` | an etag or first-write in any item | [`ConditionalWrite`](Safety::ConditionalWrite), else [`IdempotentWrite`](Safety::IdempotentWrite) |
    /// | `ScheduleJob`, `RegisterActorReminder` | `overwrite` (absent: false for the job, true for the reminder) | [`IdempotentWrite`](Safety::IdempotentWrite), else [`ConditionalWrite`](Safety::ConditionalWrite) |
    /// | `StartWorkflow` | an instance id of the caller's | [`ConditionalWrite`](Safety::ConditionalWrite), else [`Effect`](Safety::Effect) |
    ///
    /// ```
    /// use tower_dapr::rpc::{Rpc, Safety};
    ///
    /// let save = Rpc::lookup("/dapr.proto.runtime.v1.Dapr/SaveState").ok_or("a call of Dapr")?;
    /// // SaveStateRequest { store_name: "s", states: [StateItem { key: "k", etag: Some(Etag { value: "7" }), .. }] }
    /// let body = b"\0\0\0\0\x0d\x0a\x01s\x12\x08\x0a\x01k\x1a\x03\x0a\x017";
    /// assert_eq!(save.safety(), Safety::IdempotentWrite);
    /// assert_eq!(save.safety_of(body), Safety::ConditionalWrite);
    /// # Ok::<(), &str>(())
    /// ```
    pub fn safety_of(&self, body: &[u8]) -> Safety {
        self.condition.decide(body).unwrap_or(self.safety)
    }

    /// How many messages flow in each direction.
    pub const fn streaming(&self) -> Streaming {
        self.streaming
    }

    /// What the name is that the request carries.
    pub const fn name_kind(&self) -> NameKind {
        self.name_kind
    }

    /// Where that name stands in the request: field numbers from the outside in, `[1]` or `[1, 1]`. Empty if the
    /// request has none.
    pub const fn component_field(&self) -> &'static [u32] {
        self.component
    }

    /// Where the topic stands in the request, as [`component_field`](Self::component_field). Empty if there is none.
    pub const fn destination_field(&self) -> &'static [u32] {
        self.destination
    }

    /// A unary call without names. The path must be `/service/method`, which the table's build checks.
    pub(super) const fn unary(path: &'static str, block: BuildingBlock, safety: Safety) -> Self {
        let (service, method) = split(path);
        Self {
            path,
            service,
            method,
            block,
            safety,
            condition: Condition::None,
            streaming: Streaming::Unary,
            name_kind: NameKind::None,
            component: &[],
            destination: &[],
            number: 0,
        }
    }

    pub(super) const fn stream(path: &'static str, block: BuildingBlock, streaming: Streaming) -> Self {
        let mut row = Self::unary(path, block, Safety::Stream);
        row.streaming = streaming;
        row
    }

    pub(super) const fn set_number(&mut self, number: u8) {
        self.number = number;
    }

    /// Where it stands in the table: what a list of something for each call is indexed by.
    pub(crate) fn number(&self) -> usize {
        self.number.into()
    }

    pub(super) const fn named(mut self, kind: NameKind, field: &'static [u32]) -> Self {
        self.name_kind = kind;
        self.component = field;
        self
    }

    pub(super) const fn component(self, field: &'static [u32]) -> Self {
        self.named(NameKind::Component, field)
    }

    pub(super) const fn actor_type(self) -> Self {
        self.named(NameKind::ActorType, &[1])
    }

    pub(super) const fn topic(mut self, field: &'static [u32]) -> Self {
        self.destination = field;
        self
    }

    pub(super) const fn decided_by(mut self, condition: Condition) -> Self {
        self.condition = condition;
        self
    }
}

/// `/service/method` to `(service, method)`.
const fn split(path: &'static str) -> (&'static str, &'static str) {
    let (slash, path) = path.split_at(1);
    assert!(slash.as_bytes()[0] == b'/', "a path begins with a slash");
    let mut at = 0;
    while path.as_bytes()[at] != b'/' {
        at += 1;
    }
    let (service, rest) = path.split_at(at);
    let (_, method) = rest.split_at(1);
    (service, method)
}
