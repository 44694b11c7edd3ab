use std::{collections::HashMap, fmt};

use dapr::dapr::proto::runtime::v1::QueryStateRequest;

use super::{BulkEntry, Decode, State};
use crate::{
    Error,
    outbound::parts::{Metadata, Payload, sent_when_awaited},
};

const QUERY: &str = "query state in";

/// A query that is not sent yet. Made by [`State::query`]; sent when awaited.
///
/// # Errors
///
/// When awaited: if the query cannot be written as JSON ([`Error::is_invalid`]), the call fails, or the store cannot query
/// ([`Error::dapr_error_code`] `DAPR_STATE_QUERYING_NOT_SUPPORTED`). What is wrong with a single value is in its entry.
#[derive(Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct Query<T> {
    state: State,
    query: Payload,
    metadata: Metadata,
    decode: Decode<T>,
}

/// What a query found. Its `Debug` shows no value.
#[non_exhaustive]
pub struct QueryPage<T> {
    /// The values.
    pub entries: Vec<BulkEntry<T>>,
    /// With what to ask for the next page. `None` if this is the last.
    pub token: Option<String>,
    /// What the store says beside.
    pub metadata: HashMap<String, String>,
}

impl<T> Query<T> {
    pub(super) fn new(state: State, query: Payload, decode: Decode<T>) -> Self {
        Self { state, query, metadata: Metadata::default(), decode }
    }

    /// Metadata for the component.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.0.insert(key.into(), value.into());
        self
    }

    async fn send(self) -> Result<QueryPage<T>, Error> {
        let Self { state, query, metadata, decode } = self;
        let (mut client, store_name) = state.store.call(QUERY)?;
        let query = String::from_utf8(query.take(QUERY, &store_name)?).expect("serde_json writes UTF-8");
        let request = QueryStateRequest { store_name, query, metadata: metadata.0 };
        let answer = client.query_state_alpha1(request).await.map_err(state.store.failed(QUERY))?.into_inner();
        let entries = answer.results.into_iter().map(|item| {
            BulkEntry::read(QUERY, &state, item.key, item.error, (item.data, item.etag, HashMap::new()), decode)
        });
        let token = Some(answer.token).filter(|token| !token.is_empty());
        Ok(QueryPage { entries: entries.collect(), token, metadata: answer.metadata })
    }
}

sent_when_awaited! {
    Query<T> => QueryPage<T>;
}

impl<T> fmt::Debug for QueryPage<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryPage").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}
