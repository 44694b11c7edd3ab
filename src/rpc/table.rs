//! The rows. Safety classes by what daprd 1.18 does with each call, names by the field numbers of its protobuf files.

use super::{
    class::{
        BuildingBlock::{self, *},
        NameKind::AppId,
        Safety::{ConditionalWrite, Effect, IdempotentWrite, Never, Publish, Read},
        Streaming::{Bidi, ServerStream},
    },
    condition::Condition::{DeleteState, InstanceId, Overwrite, StateItems, StateOperations},
    row::Rpc,
};

/// Ordered by path.
pub(super) const ROWS: &[Rpc] = &numbered([
    Rpc::unary("/dapr.proto.runtime.v1.AppCallback/ListInputBindings", Bindings, Read),
    Rpc::unary("/dapr.proto.runtime.v1.AppCallback/ListTopicSubscriptions", Pubsub, Read),
    Rpc::unary("/dapr.proto.runtime.v1.AppCallback/OnBindingEvent", Bindings, Effect).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.AppCallback/OnBulkTopicEvent", Pubsub, Effect).component(&[5]).topic(&[4]),
    Rpc::unary("/dapr.proto.runtime.v1.AppCallback/OnInvoke", Invoke, Effect),
    Rpc::unary("/dapr.proto.runtime.v1.AppCallback/OnJobEvent", Jobs, Effect),
    Rpc::unary("/dapr.proto.runtime.v1.AppCallback/OnTopicEvent", Pubsub, Effect).component(&[8]).topic(&[6]),
    Rpc::unary("/dapr.proto.runtime.v1.AppCallbackAlpha/OnBulkTopicEventAlpha1", Pubsub, Effect)
        .component(&[5])
        .topic(&[4]),
    Rpc::unary("/dapr.proto.runtime.v1.AppCallbackAlpha/OnJobEventAlpha1", Jobs, Effect),
    Rpc::unary("/dapr.proto.runtime.v1.AppCallbackHealthCheck/HealthCheck", Health, Read),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/BatchQueryVectorsAlpha1", Vector, Read).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/BulkPublishEvent", Pubsub, Publish).component(&[1]).topic(&[2]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/BulkPublishEventAlpha1", Pubsub, Publish).component(&[1]).topic(&[2]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/ConverseAlpha1", Conversation, Effect).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/ConverseAlpha2", Conversation, Effect).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/CreateCollectionAlpha1", Vector, ConditionalWrite).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/CreateIndexAlpha1", Search, ConditionalWrite).component(&[1]),
    Rpc::stream("/dapr.proto.runtime.v1.Dapr/DecryptAlpha1", Crypto, Bidi).component(&[1, 1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/DeleteBulkState", State, IdempotentWrite)
        .component(&[1])
        .decided_by(StateItems),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/DeleteCollectionAlpha1", Vector, IdempotentWrite).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/DeleteDocumentsAlpha1", Search, IdempotentWrite).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/DeleteIndexAlpha1", Search, IdempotentWrite).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/DeleteJob", Jobs, IdempotentWrite),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/DeleteJobAlpha1", Jobs, IdempotentWrite),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/DeleteJobsByPrefix", Jobs, IdempotentWrite),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/DeleteJobsByPrefixAlpha1", Jobs, IdempotentWrite),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/DeleteState", State, IdempotentWrite)
        .component(&[1])
        .decided_by(DeleteState),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/DeleteVectorsAlpha1", Vector, IdempotentWrite).component(&[1]),
    Rpc::stream("/dapr.proto.runtime.v1.Dapr/EncryptAlpha1", Crypto, Bidi).component(&[1, 1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/ExecuteActorStateTransaction", Actors, Effect).actor_type(),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/ExecuteStateTransaction", State, IdempotentWrite)
        .component(&[1])
        .decided_by(StateOperations),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/GetActorReminder", Actors, Read).actor_type(),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/GetActorState", Actors, Read).actor_type(),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/GetBulkSecret", Secrets, Read).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/GetBulkState", State, Read).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/GetCollectionAlpha1", Vector, Read).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/GetConfiguration", Configuration, Read).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/GetConfigurationAlpha1", Configuration, Read).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/GetDocumentsAlpha1", Search, Read).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/GetIndexAlpha1", Search, Read).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/GetJob", Jobs, Read),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/GetJobAlpha1", Jobs, Read),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/GetMetadata", Metadata, Read),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/GetSecret", Secrets, Read).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/GetState", State, Read).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/GetVectorsAlpha1", Vector, Read).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/GetWorkflowAlpha1", Workflow, Read).component(&[2]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/GetWorkflowBeta1", Workflow, Read).component(&[2]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/IndexDocumentsAlpha1", Search, IdempotentWrite).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/InvokeActor", Actors, Effect).actor_type(),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/InvokeBinding", Bindings, Effect).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/InvokeService", Invoke, Effect).named(AppId, &[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/ListActorReminders", Actors, Read).actor_type(),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/ListCollectionsAlpha1", Vector, Read).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/ListIndexesAlpha1", Search, Read).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/ListJobs", Jobs, Read),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/ListJobsAlpha1", Jobs, Read),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/PauseWorkflowAlpha1", Workflow, IdempotentWrite).component(&[2]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/PauseWorkflowBeta1", Workflow, IdempotentWrite).component(&[2]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/PublishEvent", Pubsub, Publish).component(&[1]).topic(&[2]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/PurgeWorkflowAlpha1", Workflow, IdempotentWrite).component(&[2]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/PurgeWorkflowBeta1", Workflow, IdempotentWrite).component(&[2]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/QueryStateAlpha1", State, Read).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/QueryVectorsAlpha1", Vector, Read).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/RaiseEventWorkflowAlpha1", Workflow, Effect).component(&[2]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/RaiseEventWorkflowBeta1", Workflow, Effect).component(&[2]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/RegisterActorReminder", Actors, IdempotentWrite)
        .actor_type()
        .decided_by(Overwrite { field: 8, default: true }),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/RegisterActorTimer", Actors, IdempotentWrite).actor_type(),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/ResumeWorkflowAlpha1", Workflow, IdempotentWrite).component(&[2]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/ResumeWorkflowBeta1", Workflow, IdempotentWrite).component(&[2]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/SaveState", State, IdempotentWrite).component(&[1]).decided_by(StateItems),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/ScheduleJob", Jobs, ConditionalWrite)
        .decided_by(Overwrite { field: 2, default: false }),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/ScheduleJobAlpha1", Jobs, ConditionalWrite)
        .decided_by(Overwrite { field: 2, default: false }),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/SearchAlpha1", Search, Read).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/SetMetadata", Metadata, IdempotentWrite),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/Shutdown", BuildingBlock::Shutdown, Never),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/StartWorkflowAlpha1", Workflow, Effect)
        .component(&[2])
        .decided_by(InstanceId),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/StartWorkflowBeta1", Workflow, Effect)
        .component(&[2])
        .decided_by(InstanceId),
    Rpc::stream("/dapr.proto.runtime.v1.Dapr/SubscribeActorEventsAlpha1", Actors, Bidi),
    Rpc::stream("/dapr.proto.runtime.v1.Dapr/SubscribeConfiguration", Configuration, ServerStream).component(&[1]),
    Rpc::stream("/dapr.proto.runtime.v1.Dapr/SubscribeConfigurationAlpha1", Configuration, ServerStream)
        .component(&[1]),
    Rpc::stream("/dapr.proto.runtime.v1.Dapr/SubscribeTopicEventsAlpha1", Pubsub, Bidi)
        .component(&[1, 1])
        .topic(&[1, 2]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/SubtleDecryptAlpha1", Crypto, Read).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/SubtleEncryptAlpha1", Crypto, Read).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/SubtleGetKeyAlpha1", Crypto, Read).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/SubtleSignAlpha1", Crypto, Read).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/SubtleUnwrapKeyAlpha1", Crypto, Read).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/SubtleVerifyAlpha1", Crypto, Read).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/SubtleWrapKeyAlpha1", Crypto, Read).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/TerminateWorkflowAlpha1", Workflow, IdempotentWrite).component(&[2]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/TerminateWorkflowBeta1", Workflow, IdempotentWrite).component(&[2]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/TryLockAlpha1", Lock, Effect).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/UnlockAlpha1", Lock, ConditionalWrite).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/UnregisterActorReminder", Actors, IdempotentWrite).actor_type(),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/UnregisterActorRemindersByType", Actors, IdempotentWrite).actor_type(),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/UnregisterActorTimer", Actors, IdempotentWrite).actor_type(),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/UnsubscribeConfiguration", Configuration, IdempotentWrite).component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/UnsubscribeConfigurationAlpha1", Configuration, IdempotentWrite)
        .component(&[1]),
    Rpc::unary("/dapr.proto.runtime.v1.Dapr/UpsertVectorsAlpha1", Vector, IdempotentWrite).component(&[1]),
]);

const fn numbered<const N: usize>(mut rows: [Rpc; N]) -> [Rpc; N] {
    let mut number = 0;
    while number < N {
        rows[number].set_number(number as u8);
        number += 1;
    }
    rows
}
