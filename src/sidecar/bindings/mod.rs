//! Bindings: files, HTTP and cron (`dapr/components-contrib:bindings`).

mod http_output;
mod input;
mod local_storage;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub(super) use self::http_output::HttpOutput;
pub(super) use self::input::run as run_inputs;
pub(super) use self::local_storage::LocalStorage;
use super::schedule::Schedule;

#[derive(Clone, Debug)]
pub(super) enum Binding {
    LocalStorage(Arc<LocalStorage>),
    Http(Arc<HttpOutput>),
    Cron(CronInput),
}

/// An input binding that calls the app by the clock.
#[derive(Clone, Debug)]
pub(super) struct CronInput {
    pub(super) schedule: Schedule,
    /// The app's route; defaults to the binding's name.
    pub(super) route: Option<String>,
    /// `direction: input`: the app is not asked whether it wants it.
    pub(super) is_wanted: bool,
}

/// What an output binding is asked to do.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) kind: String,
    pub(super) data: Vec<u8>,
    pub(super) metadata: HashMap<String, String>,
}

/// What came of it. There is metadata also with an error.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) data: Vec<u8>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) error: Option<String>,
}

// ===== impl Binding =====

impl Binding {
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::LocalStorage(_) => "bindings.localstorage",
            Self::Http(_) => "bindings.http",
            Self::Cron(_) => "bindings.cron",
        }
    }

    pub(super) const fn capability(&self) -> &'static str {
        match self {
            Self::LocalStorage(_) | Self::Http(_) => "OUTPUT_BINDING",
            Self::Cron(_) => "INPUT_BINDING",
        }
    }

    pub(super) async fn invoke(&self, name: &str, operation: Operation) -> Outcome {
        let known = match self {
            Self::LocalStorage(_) => &LocalStorage::OPERATIONS[..],
            Self::Http(_) => &HttpOutput::OPERATIONS[..],
            Self::Cron(_) => &[],
        };
        if operation.kind.is_empty() {
            return Outcome::failed("operation field is missing from request".to_owned());
        }
        if !known.contains(&operation.kind.as_str()) {
            let (kind, known) = (operation.kind, known.join(" "));
            let reason = format!("binding {name} does not support operation {kind}. supported operations:{known}");
            return Outcome::failed(reason);
        }
        match self {
            Self::LocalStorage(files) => {
                let files = Arc::clone(files);
                let done = tokio::task::spawn_blocking(move || files.invoke(operation)).await;
                match done.unwrap_or_else(|error| Err(error.to_string())) {
                    Ok(data) => Outcome { data, ..Outcome::default() },
                    Err(reason) => Outcome::failed(reason),
                }
            }
            Self::Http(http) => http.invoke(operation).await,
            Self::Cron(_) => Outcome::failed("an input binding has no operations".to_owned()),
        }
    }
}

// ===== impl Outcome =====

impl Outcome {
    fn failed(reason: String) -> Self {
        Self { error: Some(reason), ..Self::default() }
    }
}
