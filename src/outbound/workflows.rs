use std::{collections::HashMap, fmt, time::SystemTime};

use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::{
    GetWorkflowRequest, GetWorkflowResponse, PauseWorkflowRequest, PurgeWorkflowRequest, RaiseEventWorkflowRequest,
    ResumeWorkflowRequest, StartWorkflowRequest, TerminateWorkflowRequest,
};
use serde::Serialize;

use super::{
    Dapr,
    parts::{Component, Payload, sent_when_awaited},
};
use crate::Error;

/// The only engine that there is.
const ENGINE: &str = "dapr";
const START: &str = "start workflow";
const RAISE: &str = "raise an event of workflow";

/// Workflows, as seen by who starts and steers them. Made by [`Dapr::workflows`]. Writing one is the business of the
/// workflow SDK.
///
/// ```no_run
/// # async fn example(dapr: tower_dapr::outbound::Dapr) -> Result<(), tower_dapr::Error> {
/// let workflows = dapr.workflows();
/// let id = workflows.start("ship_order").instance_id("order-1").json(&"tea").await?;
/// workflows.raise_event(&id, "paid", &12).await?;
/// if let Some(instance) = workflows.get(&id).await? {
///     println!("{}", instance.status());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Workflows {
    dapr: Dapr,
}

/// A method that asks for something of one instance.
macro_rules! steer {
    ($($(#[$doc:meta])* $method:ident: $rpc:ident($request:ident), $operation:literal;)+) => {
        impl Workflows {$(
            $(#[$doc])*
            ///
            /// # Errors
            ///
            /// If the id is empty ([`Error::is_invalid`]), or the call fails.
            pub async fn $method(&self, instance_id: impl Into<String>) -> Result<(), Error> {
                let component = self.component(instance_id.into());
                let (mut client, instance_id) = component.call($operation)?;
                let request = $request { instance_id, workflow_component: ENGINE.to_owned() };
                client.$rpc(request).await.map_err(component.failed($operation))?;
                Ok(())
            }
        )+}
    };
}

steer! {
    /// Stops an instance until it is resumed.
    pause: pause_workflow_beta1(PauseWorkflowRequest), "pause workflow";
    /// Lets a paused instance go on.
    resume: resume_workflow_beta1(ResumeWorkflowRequest), "resume workflow";
    /// Ends an instance. One that is not known is an error: `NOT_FOUND`, or `INTERNAL` where no app runs workflows.
    terminate: terminate_workflow_beta1(TerminateWorkflowRequest), "terminate workflow";
    /// Forgets an instance that has ended. One that is not known is an error, as for [`terminate`](Self::terminate).
    purge: purge_workflow_beta1(PurgeWorkflowRequest), "purge workflow";
}

impl Workflows {
    pub(super) const fn new(dapr: Dapr) -> Self {
        Self { dapr }
    }

    fn component(&self, name: String) -> Component {
        Component::new(self.dapr.clone(), name)
    }

    /// Starts a workflow, when awaited. Gives the instance's id.
    pub fn start(&self, name: impl Into<String>) -> StartWorkflow {
        StartWorkflow { workflow: self.component(name.into()), instance_id: String::new(), input: Payload::default() }
    }

    /// What is known of an instance. `None` if there is none.
    ///
    /// # Errors
    ///
    /// If the id is empty ([`Error::is_invalid`]), or the call fails.
    pub async fn get(&self, instance_id: impl Into<String>) -> Result<Option<WorkflowInstance>, Error> {
        const GET: &str = "get workflow";
        let component = self.component(instance_id.into());
        let (mut client, instance_id) = component.call(GET)?;
        let request = GetWorkflowRequest { instance_id, workflow_component: ENGINE.to_owned() };
        let answer = client.get_workflow_beta1(request).await.map_err(component.failed(GET))?.into_inner();
        // Of an instance that it does not know daprd says nothing but the id.
        let is_known = !answer.workflow_name.is_empty() || !answer.runtime_status.is_empty();
        Ok(is_known.then_some(WorkflowInstance(answer)))
    }

    /// Tells an instance that something happened, with this value as JSON.
    ///
    /// # Errors
    ///
    /// If the id is empty or the value cannot be written as JSON ([`Error::is_invalid`]), or the call fails.
    pub async fn raise_event<T: Serialize + ?Sized>(
        &self,
        instance_id: impl Into<String>,
        event_name: impl Into<String>,
        data: &T,
    ) -> Result<(), Error> {
        let component = self.component(instance_id.into());
        let (mut client, instance_id) = component.call(RAISE)?;
        let request = RaiseEventWorkflowRequest {
            instance_id,
            workflow_component: ENGINE.to_owned(),
            event_name: event_name.into(),
            event_data: Payload::json(data).take(RAISE, component.name())?,
        };
        client.raise_event_workflow_beta1(request).await.map_err(component.failed(RAISE))?;
        Ok(())
    }
}

/// A workflow that is not started yet. Made by [`Workflows::start`]; sent when awaited.
///
/// # Errors
///
/// When awaited: if the name is empty or the input cannot be written as JSON ([`Error::is_invalid`]; nothing was sent), the
/// instance's id is no id (`INVALID_ARGUMENT`: letters, digits, `-` and `_`, at most 64), or the call fails; an instance
/// that is there already is `INTERNAL`.
#[derive(Debug)]
#[must_use = "nothing is started until it is awaited"]
pub struct StartWorkflow {
    workflow: Component,
    instance_id: String,
    input: Payload,
}

impl StartWorkflow {
    /// The id of the instance. Defaults to a random one of Dapr's. With one, starting twice is an error and not a second
    /// instance.
    pub fn instance_id(mut self, id: impl Into<String>) -> Self {
        self.instance_id = id.into();
        self
    }

    /// The input: this value as JSON.
    pub fn json<T: Serialize + ?Sized>(mut self, input: &T) -> Self {
        self.input = Payload::json(input);
        self
    }

    /// The input: these bytes.
    pub fn bytes(mut self, input: impl Into<Bytes>) -> Self {
        self.input = Payload::bytes(input);
        self
    }

    async fn send(self) -> Result<String, Error> {
        let Self { workflow, instance_id, input } = self;
        let (mut client, workflow_name) = workflow.call(START)?;
        let request = StartWorkflowRequest {
            instance_id,
            workflow_component: ENGINE.to_owned(),
            input: input.take(START, &workflow_name)?,
            workflow_name,
            options: HashMap::new(),
        };
        let answer = client.start_workflow_beta1(request).await.map_err(workflow.failed(START))?;
        Ok(answer.into_inner().instance_id)
    }
}

sent_when_awaited! {
    StartWorkflow => String;
}

/// What is known of an instance of a workflow. Its `Debug` does not show the properties, which hold input and output.
#[derive(Clone)]
pub struct WorkflowInstance(GetWorkflowResponse);

impl WorkflowInstance {
    /// The id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.instance_id
    }

    /// The name of the workflow.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.workflow_name
    }

    /// Where it is: `PENDING`, `RUNNING`, `SUSPENDED`, `COMPLETED`, `FAILED`, `TERMINATED`, ..
    #[must_use]
    pub fn status(&self) -> &str {
        &self.0.runtime_status
    }

    /// When it was started.
    #[must_use]
    pub fn created_at(&self) -> Option<SystemTime> {
        self.0.created_at?.try_into().ok()
    }

    /// When it last changed.
    #[must_use]
    pub fn last_updated_at(&self) -> Option<SystemTime> {
        self.0.last_updated_at?.try_into().ok()
    }

    /// What the engine says beside, as `dapr.workflow.output`.
    #[must_use]
    pub fn properties(&self) -> &HashMap<String, String> {
        &self.0.properties
    }
}

impl fmt::Debug for WorkflowInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkflowInstance")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
