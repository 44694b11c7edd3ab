use std::fmt;

use dapr::{
    client::DaprInterface,
    dapr::proto::{
        common::v1::{InvokeResponse, StreamPayload},
        runtime::v1::{
            BatchQueryVectorsRequestAlpha1, BatchQueryVectorsResponseAlpha1, ConversationRequest,
            ConversationRequestAlpha2, ConversationResponse, ConversationResponseAlpha2, CreateCollectionRequestAlpha1,
            CreateIndexRequestAlpha1, DecryptRequest, DeleteBulkStateRequest, DeleteCollectionRequestAlpha1,
            DeleteDocumentsRequestAlpha1, DeleteDocumentsResponseAlpha1, DeleteIndexRequestAlpha1, DeleteJobRequest,
            DeleteJobResponse, DeleteJobsByPrefixRequest, DeleteJobsByPrefixResponse, DeleteStateRequest,
            DeleteVectorsRequestAlpha1, DeleteVectorsResponseAlpha1, EncryptRequest, GetBulkSecretRequest,
            GetBulkSecretResponse, GetCollectionRequestAlpha1, GetCollectionResponseAlpha1, GetConfigurationRequest,
            GetConfigurationResponse, GetDocumentsRequestAlpha1, GetDocumentsResponseAlpha1, GetIndexRequestAlpha1,
            GetIndexResponseAlpha1, GetJobRequest, GetJobResponse, GetMetadataRequest, GetMetadataResponse,
            GetSecretRequest, GetSecretResponse, GetStateRequest, GetStateResponse, GetVectorsRequestAlpha1,
            GetVectorsResponseAlpha1, IndexDocumentsRequestAlpha1, IndexDocumentsResponseAlpha1, InvokeActorRequest,
            InvokeActorResponse, InvokeBindingRequest, InvokeBindingResponse, InvokeServiceRequest,
            ListCollectionsRequestAlpha1, ListCollectionsResponseAlpha1, ListIndexesRequestAlpha1,
            ListIndexesResponseAlpha1, ListJobsRequest, ListJobsResponse, PublishEventRequest, QueryStateRequest,
            QueryStateResponse, QueryVectorsRequestAlpha1, QueryVectorsResponseAlpha1, SaveStateRequest,
            ScheduleJobRequest, ScheduleJobResponse, SearchRequestAlpha1, SearchResponseAlpha1, SetMetadataRequest,
            SubscribeConfigurationRequest, SubscribeConfigurationResponse, UnsubscribeConfigurationRequest,
            UnsubscribeConfigurationResponse, UpsertVectorsRequestAlpha1, UpsertVectorsResponseAlpha1,
            dapr_client::DaprClient,
        },
    },
    error::Error,
};
use tokio_stream::iter;
use tonic::{Status, Streaming, async_trait};

use super::{Dapr, DaprService};

tokio::task_local! {
    /// The handle whose stack the next client is made over: the SDK's constructors take an address only.
    static HANDLE: Dapr;
}

/// What crate `dapr`'s own client calls when it goes through our stack. See [`Dapr::sdk_client`].
#[derive(Clone)]
pub struct SdkClient(DaprClient<DaprService>);

impl Dapr {
    /// Crate `dapr`'s own client over this stack, for code that uses it already.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_dapr::outbound::Dapr;
    ///
    /// let mut client = Dapr::connect()?.sdk_client().await?; // instead of dapr::Client::new()
    /// client.save_state("statestore", "tea", b"12".to_vec(), None, None, None).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Its workflow client, which opens a channel of its own, and its actors stay outside of the stack.
    ///
    /// # Errors
    ///
    /// None, at present: nothing is connected yet.
    pub async fn sdk_client(&self) -> Result<dapr::Client<SdkClient>, Error> {
        // The one constructor that is open to other clients than the SDK's own. The address is not used.
        #[allow(deprecated, reason = "its successors take the SDK's own channel only")]
        let client = dapr::Client::connect_with_port("http://127.0.0.1".to_owned(), "50001".to_owned());
        HANDLE.scope(self.clone(), client).await
    }
}

/// The calls that are handed on as they are.
macro_rules! handed_on {
    ($($method:ident($request:ty) -> $answer:ty;)+) => {
        #[async_trait]
        #[allow(deprecated, reason = "the trait asks for them")]
        impl DaprInterface for SdkClient {
            $(
                async fn $method(&mut self, request: $request) -> Result<$answer, Error> {
                    Ok(self.0.$method(request).await?.into_inner())
                }
            )+

            async fn connect(addr: String) -> Result<Self, Error> {
                let handle = HANDLE.try_with(Dapr::clone);
                handle.map(|handle| Self(handle.raw())).map_err(|_| Error::InvalidEndpoint(addr))
            }

            async fn get_metadata(&mut self) -> Result<GetMetadataResponse, Error> {
                Ok(self.0.get_metadata(GetMetadataRequest {}).await?.into_inner())
            }

            async fn subscribe_configuration(
                &mut self,
                request: SubscribeConfigurationRequest,
            ) -> Result<Streaming<SubscribeConfigurationResponse>, Error> {
                Ok(self.0.subscribe_configuration(request).await?.into_inner())
            }

            async fn encrypt(&mut self, requests: Vec<EncryptRequest>) -> Result<Vec<StreamPayload>, Status> {
                let mut answers = self.0.encrypt_alpha1(iter(requests)).await?.into_inner();
                let mut payloads = Vec::new();
                while let Some(answer) = answers.message().await? {
                    payloads.extend(answer.payload);
                }
                Ok(payloads)
            }

            async fn decrypt(&mut self, requests: Vec<DecryptRequest>) -> Result<Vec<u8>, Status> {
                let mut answers = self.0.decrypt_alpha1(iter(requests)).await?.into_inner();
                let mut data = Vec::new();
                while let Some(answer) = answers.message().await? {
                    data.extend(answer.payload.map(|payload| payload.data).unwrap_or_default());
                }
                Ok(data)
            }
        }
    };
}

handed_on! {
    publish_event(PublishEventRequest) -> ();
    invoke_service(InvokeServiceRequest) -> InvokeResponse;
    invoke_binding(InvokeBindingRequest) -> InvokeBindingResponse;
    get_secret(GetSecretRequest) -> GetSecretResponse;
    get_bulk_secret(GetBulkSecretRequest) -> GetBulkSecretResponse;
    get_state(GetStateRequest) -> GetStateResponse;
    save_state(SaveStateRequest) -> ();
    query_state_alpha1(QueryStateRequest) -> QueryStateResponse;
    delete_state(DeleteStateRequest) -> ();
    delete_bulk_state(DeleteBulkStateRequest) -> ();
    set_metadata(SetMetadataRequest) -> ();
    invoke_actor(InvokeActorRequest) -> InvokeActorResponse;
    get_configuration(GetConfigurationRequest) -> GetConfigurationResponse;
    unsubscribe_configuration(UnsubscribeConfigurationRequest) -> UnsubscribeConfigurationResponse;
    schedule_job(ScheduleJobRequest) -> ScheduleJobResponse;
    get_job(GetJobRequest) -> GetJobResponse;
    delete_job(DeleteJobRequest) -> DeleteJobResponse;
    schedule_job_alpha1(ScheduleJobRequest) -> ScheduleJobResponse;
    get_job_alpha1(GetJobRequest) -> GetJobResponse;
    delete_job_alpha1(DeleteJobRequest) -> DeleteJobResponse;
    delete_jobs_by_prefix(DeleteJobsByPrefixRequest) -> DeleteJobsByPrefixResponse;
    list_jobs(ListJobsRequest) -> ListJobsResponse;
    converse_alpha1(ConversationRequest) -> ConversationResponse;
    converse_alpha2(ConversationRequestAlpha2) -> ConversationResponseAlpha2;
    create_index_alpha1(CreateIndexRequestAlpha1) -> ();
    get_index_alpha1(GetIndexRequestAlpha1) -> GetIndexResponseAlpha1;
    list_indexes_alpha1(ListIndexesRequestAlpha1) -> ListIndexesResponseAlpha1;
    delete_index_alpha1(DeleteIndexRequestAlpha1) -> ();
    index_documents_alpha1(IndexDocumentsRequestAlpha1) -> IndexDocumentsResponseAlpha1;
    get_documents_alpha1(GetDocumentsRequestAlpha1) -> GetDocumentsResponseAlpha1;
    delete_documents_alpha1(DeleteDocumentsRequestAlpha1) -> DeleteDocumentsResponseAlpha1;
    search_alpha1(SearchRequestAlpha1) -> SearchResponseAlpha1;
    create_collection_alpha1(CreateCollectionRequestAlpha1) -> ();
    get_collection_alpha1(GetCollectionRequestAlpha1) -> GetCollectionResponseAlpha1;
    list_collections_alpha1(ListCollectionsRequestAlpha1) -> ListCollectionsResponseAlpha1;
    delete_collection_alpha1(DeleteCollectionRequestAlpha1) -> ();
    upsert_vectors_alpha1(UpsertVectorsRequestAlpha1) -> UpsertVectorsResponseAlpha1;
    delete_vectors_alpha1(DeleteVectorsRequestAlpha1) -> DeleteVectorsResponseAlpha1;
    get_vectors_alpha1(GetVectorsRequestAlpha1) -> GetVectorsResponseAlpha1;
    query_vectors_alpha1(QueryVectorsRequestAlpha1) -> QueryVectorsResponseAlpha1;
    batch_query_vectors_alpha1(BatchQueryVectorsRequestAlpha1) -> BatchQueryVectorsResponseAlpha1;
}

impl fmt::Debug for SdkClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SdkClient")
    }
}
