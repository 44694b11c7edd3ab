use dapr::dapr::proto::runtime::v1::{ExecuteStateTransactionRequest, TransactionalStateOperation};

use super::{Delete, Save, State};
use crate::{
    Error,
    outbound::parts::{Metadata, sent_when_awaited},
};

const TRANSACT: &str = "execute a transaction in";

/// One write of a [`Transaction`]: a [`Save`] or a [`Delete`].
#[derive(Debug)]
pub struct StateOperation(Operation);

#[derive(Debug)]
enum Operation {
    Save(Save),
    Delete(Delete),
}

impl From<Save> for StateOperation {
    fn from(save: Save) -> Self {
        Self(Operation::Save(save))
    }
}

impl From<Delete> for StateOperation {
    fn from(delete: Delete) -> Self {
        Self(Operation::Delete(delete))
    }
}

/// Several writes that happen together or not at all. Made by [`State::transaction`]; sent when awaited.
///
/// # Errors
///
/// When awaited:
///
/// * [`Error::is_invalid`]: a write cannot be sent (as for [`Save`]); nothing was sent.
/// * `UNIMPLEMENTED`: the store cannot.
/// * `INTERNAL`: something failed, a changed etag among others: daprd does not tell them apart.
/// * The call failed.
#[derive(Debug)]
#[must_use = "nothing is written until it is awaited"]
pub struct Transaction {
    state: State,
    operations: Vec<StateOperation>,
    metadata: Metadata,
}

impl Transaction {
    pub(super) fn new(state: State) -> Self {
        Self { state, operations: Vec::new(), metadata: Metadata::default() }
    }

    /// Adds a write. They are made in this order.
    pub fn with(mut self, operation: impl Into<StateOperation>) -> Self {
        self.operations.push(operation.into());
        self
    }

    /// Metadata for the component.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.0.insert(key.into(), value.into());
        self
    }

    async fn send(self) -> Result<(), Error> {
        let Self { state, operations, metadata } = self;
        let (mut client, store_name) = state.store.call(TRANSACT)?;
        let operations = operations.into_iter().map(|StateOperation(operation)| {
            let (operation_type, item) = match operation {
                Operation::Save(save) => ("upsert", save.into_item(&state, TRANSACT)?),
                Operation::Delete(delete) => ("delete", delete.into_item(&state, TRANSACT)?),
            };
            Ok(TransactionalStateOperation { operation_type: operation_type.to_owned(), request: Some(item) })
        });
        let operations = operations.collect::<Result<_, Error>>()?;
        let request = ExecuteStateTransactionRequest { store_name, operations, metadata: metadata.0 };
        client.execute_state_transaction(request).await.map_err(state.store.failed(TRANSACT))?;
        Ok(())
    }
}

sent_when_awaited! {
    Transaction => ();
}
