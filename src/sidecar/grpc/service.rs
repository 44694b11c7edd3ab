//! The table of all rpcs of the generated service: who answers each.

use std::pin::Pin;
use std::sync::Arc;

use dapr::dapr::proto::common::v1::InvokeResponse;
use dapr::dapr::proto::runtime::v1::dapr_server::Dapr;
use dapr::dapr::proto::runtime::v1::{
    BatchQueryVectorsRequestAlpha1, BatchQueryVectorsResponseAlpha1, BulkPublishRequest, BulkPublishResponse,
    ConversationRequest, ConversationRequestAlpha2, ConversationResponse, ConversationResponseAlpha2,
    CreateCollectionRequestAlpha1, CreateIndexRequestAlpha1, DecryptRequest, DecryptResponse, DeleteBulkStateRequest,
    DeleteCollectionRequestAlpha1, DeleteDocumentsRequestAlpha1, DeleteDocumentsResponseAlpha1,
    DeleteIndexRequestAlpha1, DeleteJobRequest, DeleteJobResponse, DeleteJobsByPrefixRequest,
    DeleteJobsByPrefixRequestAlpha1, DeleteJobsByPrefixResponse, DeleteJobsByPrefixResponseAlpha1, DeleteStateRequest,
    DeleteVectorsRequestAlpha1, DeleteVectorsResponseAlpha1, EncryptRequest, EncryptResponse,
    ExecuteActorStateTransactionRequest, ExecuteStateTransactionRequest, GetActorReminderRequest,
    GetActorReminderResponse, GetActorStateRequest, GetActorStateResponse, GetBulkSecretRequest, GetBulkSecretResponse,
    GetBulkStateRequest, GetBulkStateResponse, GetCollectionRequestAlpha1, GetCollectionResponseAlpha1,
    GetConfigurationRequest, GetConfigurationResponse, GetDocumentsRequestAlpha1, GetDocumentsResponseAlpha1,
    GetIndexRequestAlpha1, GetIndexResponseAlpha1, GetJobRequest, GetJobResponse, GetMetadataRequest,
    GetMetadataResponse, GetSecretRequest, GetSecretResponse, GetStateRequest, GetStateResponse,
    GetVectorsRequestAlpha1, GetVectorsResponseAlpha1, GetWorkflowRequest, GetWorkflowResponse,
    IndexDocumentsRequestAlpha1, IndexDocumentsResponseAlpha1, InvokeActorRequest, InvokeActorResponse,
    InvokeBindingRequest, InvokeBindingResponse, InvokeServiceRequest, ListActorRemindersRequest,
    ListActorRemindersResponse, ListCollectionsRequestAlpha1, ListCollectionsResponseAlpha1, ListIndexesRequestAlpha1,
    ListIndexesResponseAlpha1, ListJobsRequest, ListJobsRequestAlpha1, ListJobsResponse, ListJobsResponseAlpha1,
    PauseWorkflowRequest, PublishEventRequest, PurgeWorkflowRequest, QueryStateRequest, QueryStateResponse,
    QueryVectorsRequestAlpha1, QueryVectorsResponseAlpha1, RaiseEventWorkflowRequest, RegisterActorReminderRequest,
    RegisterActorTimerRequest, ResumeWorkflowRequest, SaveStateRequest, ScheduleJobRequest, ScheduleJobResponse,
    SearchRequestAlpha1, SearchResponseAlpha1, SetMetadataRequest, ShutdownRequest, StartWorkflowRequest,
    StartWorkflowResponse, SubscribeConfigurationRequest, SubscribeConfigurationResponse,
    SubscribeTopicEventsRequestAlpha1, SubscribeTopicEventsResponseAlpha1, SubtleDecryptRequest, SubtleDecryptResponse,
    SubtleEncryptRequest, SubtleEncryptResponse, SubtleGetKeyRequest, SubtleGetKeyResponse, SubtleSignRequest,
    SubtleSignResponse, SubtleUnwrapKeyRequest, SubtleUnwrapKeyResponse, SubtleVerifyRequest, SubtleVerifyResponse,
    SubtleWrapKeyRequest, SubtleWrapKeyResponse, TerminateWorkflowRequest, TryLockRequest, TryLockResponse,
    UnlockRequest, UnlockResponse, UnregisterActorReminderRequest, UnregisterActorRemindersByTypeRequest,
    UnregisterActorRemindersByTypeResponse, UnregisterActorTimerRequest, UnsubscribeConfigurationRequest,
    UnsubscribeConfigurationResponse, UpsertVectorsRequestAlpha1, UpsertVectorsResponseAlpha1,
};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::wire::Caller;
use super::{
    actors, bindings, configuration, invoke, jobs, locks, metadata, publish, refused, reminders, secrets, state,
    streaming,
};
use crate::sidecar::app::App;

/// The gRPC API of one sidecar.
#[derive(Clone, Debug)]
pub(super) struct Service(Arc<App>);

/// What an rpc streams.
pub(super) type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

// ===== impl Service =====

impl Service {
    pub(super) const fn new(app: Arc<App>) -> Self {
        Self(app)
    }
}

/// Tells the call's span what it is about.
fn describe<T: 'static>(request: &Request<T>) {
    let caller = request.extensions().get::<Caller>();
    if let Some(span) = caller.and_then(|caller| caller.span.as_ref()) {
        span.describe(request.get_ref());
    }
}

macro_rules! dapr_service {
    (
        served { $($served:ident($question:ty) -> $answer:ty => $handler:path;)* }
        refused { $($refused:ident($ignored:ty) -> $never:ty => $refusal:path;)* }
        streams { $($stream:ident: $item:ty;)* }
    ) => {
        #[tonic::async_trait]
        impl Dapr for Service {
            $(
                async fn $served(&self, request: Request<$question>) -> Result<Response<$answer>, Status> {
                    describe(&request);
                    $handler(&self.0, request).await
                }
            )*
            $(
                async fn $refused(&self, request: Request<$ignored>) -> Result<Response<$never>, Status> {
                    Err($refusal(&self.0, request.get_ref()))
                }
            )*
            $(type $stream = BoxStream<$item>;)*
        }
    };
}

dapr_service! {
    served {
        invoke_service(InvokeServiceRequest) -> InvokeResponse => invoke::invoke;
        get_state(GetStateRequest) -> GetStateResponse => state::get;
        get_bulk_state(GetBulkStateRequest) -> GetBulkStateResponse => state::get_bulk;
        save_state(SaveStateRequest) -> () => state::save;
        query_state_alpha1(QueryStateRequest) -> QueryStateResponse => state::query;
        delete_state(DeleteStateRequest) -> () => state::delete;
        delete_bulk_state(DeleteBulkStateRequest) -> () => state::delete_bulk;
        execute_state_transaction(ExecuteStateTransactionRequest) -> () => state::transaction;
        publish_event(PublishEventRequest) -> () => publish::publish;
        subscribe_topic_events_alpha1(Streaming<SubscribeTopicEventsRequestAlpha1>) -> BoxStream<SubscribeTopicEventsResponseAlpha1> => streaming::subscribe;
        bulk_publish_event_alpha1(BulkPublishRequest) -> BulkPublishResponse => publish::publish_bulk;
        bulk_publish_event(BulkPublishRequest) -> BulkPublishResponse => publish::publish_bulk;
        unsubscribe_configuration_alpha1(UnsubscribeConfigurationRequest) -> UnsubscribeConfigurationResponse => configuration::unsubscribe;
        unsubscribe_configuration(UnsubscribeConfigurationRequest) -> UnsubscribeConfigurationResponse => configuration::unsubscribe;
        invoke_binding(InvokeBindingRequest) -> InvokeBindingResponse => bindings::invoke;
        get_secret(GetSecretRequest) -> GetSecretResponse => secrets::get;
        get_bulk_secret(GetBulkSecretRequest) -> GetBulkSecretResponse => secrets::get_bulk;
        get_configuration_alpha1(GetConfigurationRequest) -> GetConfigurationResponse => configuration::get;
        get_configuration(GetConfigurationRequest) -> GetConfigurationResponse => configuration::get;
        subscribe_configuration_alpha1(SubscribeConfigurationRequest) -> BoxStream<SubscribeConfigurationResponse> => configuration::subscribe;
        subscribe_configuration(SubscribeConfigurationRequest) -> BoxStream<SubscribeConfigurationResponse> => configuration::subscribe;
        try_lock_alpha1(TryLockRequest) -> TryLockResponse => locks::try_lock;
        unlock_alpha1(UnlockRequest) -> UnlockResponse => locks::unlock;
        schedule_job_alpha1(ScheduleJobRequest) -> ScheduleJobResponse => jobs::schedule;
        schedule_job(ScheduleJobRequest) -> ScheduleJobResponse => jobs::schedule;
        get_job_alpha1(GetJobRequest) -> GetJobResponse => jobs::get;
        get_job(GetJobRequest) -> GetJobResponse => jobs::get;
        delete_job_alpha1(DeleteJobRequest) -> DeleteJobResponse => jobs::delete;
        delete_job(DeleteJobRequest) -> DeleteJobResponse => jobs::delete;
        delete_jobs_by_prefix_alpha1(DeleteJobsByPrefixRequestAlpha1) -> DeleteJobsByPrefixResponseAlpha1 => jobs::delete_by_prefix_alpha1;
        delete_jobs_by_prefix(DeleteJobsByPrefixRequest) -> DeleteJobsByPrefixResponse => jobs::delete_by_prefix;
        list_jobs_alpha1(ListJobsRequestAlpha1) -> ListJobsResponseAlpha1 => jobs::list_alpha1;
        list_jobs(ListJobsRequest) -> ListJobsResponse => jobs::list;
        get_metadata(GetMetadataRequest) -> GetMetadataResponse => metadata::get;
        set_metadata(SetMetadataRequest) -> () => metadata::set;
        shutdown(ShutdownRequest) -> () => metadata::shutdown;
        register_actor_timer(RegisterActorTimerRequest) -> () => reminders::register_timer;
        unregister_actor_timer(UnregisterActorTimerRequest) -> () => reminders::unregister_timer;
        register_actor_reminder(RegisterActorReminderRequest) -> () => reminders::register_reminder;
        unregister_actor_reminder(UnregisterActorReminderRequest) -> () => reminders::unregister_reminder;
        unregister_actor_reminders_by_type(UnregisterActorRemindersByTypeRequest) -> UnregisterActorRemindersByTypeResponse => reminders::unregister_reminders_by_type;
        list_actor_reminders(ListActorRemindersRequest) -> ListActorRemindersResponse => reminders::list_reminders;
        get_actor_state(GetActorStateRequest) -> GetActorStateResponse => actors::get_state;
        get_actor_reminder(GetActorReminderRequest) -> GetActorReminderResponse => reminders::get_reminder;
        execute_actor_state_transaction(ExecuteActorStateTransactionRequest) -> () => actors::transaction;
        invoke_actor(InvokeActorRequest) -> InvokeActorResponse => actors::invoke;
    }
    refused {
        encrypt_alpha1(Streaming<EncryptRequest>) -> BoxStream<EncryptResponse> => refused::crypto;
        decrypt_alpha1(Streaming<DecryptRequest>) -> BoxStream<DecryptResponse> => refused::crypto;
        subtle_get_key_alpha1(SubtleGetKeyRequest) -> SubtleGetKeyResponse => refused::subtle_crypto;
        subtle_encrypt_alpha1(SubtleEncryptRequest) -> SubtleEncryptResponse => refused::subtle_crypto;
        subtle_decrypt_alpha1(SubtleDecryptRequest) -> SubtleDecryptResponse => refused::subtle_crypto;
        subtle_wrap_key_alpha1(SubtleWrapKeyRequest) -> SubtleWrapKeyResponse => refused::subtle_crypto;
        subtle_unwrap_key_alpha1(SubtleUnwrapKeyRequest) -> SubtleUnwrapKeyResponse => refused::subtle_crypto;
        subtle_sign_alpha1(SubtleSignRequest) -> SubtleSignResponse => refused::subtle_crypto;
        subtle_verify_alpha1(SubtleVerifyRequest) -> SubtleVerifyResponse => refused::subtle_crypto;
        start_workflow_alpha1(StartWorkflowRequest) -> StartWorkflowResponse => refused::workflows;
        get_workflow_alpha1(GetWorkflowRequest) -> GetWorkflowResponse => refused::workflows;
        purge_workflow_alpha1(PurgeWorkflowRequest) -> () => refused::workflows;
        terminate_workflow_alpha1(TerminateWorkflowRequest) -> () => refused::workflows;
        pause_workflow_alpha1(PauseWorkflowRequest) -> () => refused::workflows;
        resume_workflow_alpha1(ResumeWorkflowRequest) -> () => refused::workflows;
        raise_event_workflow_alpha1(RaiseEventWorkflowRequest) -> () => refused::workflows;
        start_workflow_beta1(StartWorkflowRequest) -> StartWorkflowResponse => refused::workflows;
        get_workflow_beta1(GetWorkflowRequest) -> GetWorkflowResponse => refused::workflows;
        purge_workflow_beta1(PurgeWorkflowRequest) -> () => refused::workflows;
        terminate_workflow_beta1(TerminateWorkflowRequest) -> () => refused::workflows;
        pause_workflow_beta1(PauseWorkflowRequest) -> () => refused::workflows;
        resume_workflow_beta1(ResumeWorkflowRequest) -> () => refused::workflows;
        raise_event_workflow_beta1(RaiseEventWorkflowRequest) -> () => refused::workflows;
        converse_alpha1(ConversationRequest) -> ConversationResponse => refused::conversation;
        converse_alpha2(ConversationRequestAlpha2) -> ConversationResponseAlpha2 => refused::conversation2;
        create_index_alpha1(CreateIndexRequestAlpha1) -> () => refused::unknown;
        get_index_alpha1(GetIndexRequestAlpha1) -> GetIndexResponseAlpha1 => refused::unknown;
        list_indexes_alpha1(ListIndexesRequestAlpha1) -> ListIndexesResponseAlpha1 => refused::unknown;
        delete_index_alpha1(DeleteIndexRequestAlpha1) -> () => refused::unknown;
        index_documents_alpha1(IndexDocumentsRequestAlpha1) -> IndexDocumentsResponseAlpha1 => refused::unknown;
        get_documents_alpha1(GetDocumentsRequestAlpha1) -> GetDocumentsResponseAlpha1 => refused::unknown;
        delete_documents_alpha1(DeleteDocumentsRequestAlpha1) -> DeleteDocumentsResponseAlpha1 => refused::unknown;
        search_alpha1(SearchRequestAlpha1) -> SearchResponseAlpha1 => refused::unknown;
        create_collection_alpha1(CreateCollectionRequestAlpha1) -> () => refused::unknown;
        get_collection_alpha1(GetCollectionRequestAlpha1) -> GetCollectionResponseAlpha1 => refused::unknown;
        list_collections_alpha1(ListCollectionsRequestAlpha1) -> ListCollectionsResponseAlpha1 => refused::unknown;
        delete_collection_alpha1(DeleteCollectionRequestAlpha1) -> () => refused::unknown;
        upsert_vectors_alpha1(UpsertVectorsRequestAlpha1) -> UpsertVectorsResponseAlpha1 => refused::unknown;
        delete_vectors_alpha1(DeleteVectorsRequestAlpha1) -> DeleteVectorsResponseAlpha1 => refused::unknown;
        get_vectors_alpha1(GetVectorsRequestAlpha1) -> GetVectorsResponseAlpha1 => refused::unknown;
        query_vectors_alpha1(QueryVectorsRequestAlpha1) -> QueryVectorsResponseAlpha1 => refused::unknown;
        batch_query_vectors_alpha1(BatchQueryVectorsRequestAlpha1) -> BatchQueryVectorsResponseAlpha1 => refused::unknown;
    }
    streams {
        SubscribeTopicEventsAlpha1Stream: SubscribeTopicEventsResponseAlpha1;
        SubscribeConfigurationAlpha1Stream: SubscribeConfigurationResponse;
        SubscribeConfigurationStream: SubscribeConfigurationResponse;
        EncryptAlpha1Stream: EncryptResponse;
        DecryptAlpha1Stream: DecryptResponse;
    }
}
