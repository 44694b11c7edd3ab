use std::sync::Arc;

use tonic::Code;

use super::circuit::{Circuit, Result, Ticket};
use crate::{
    classify::{Ending, Outcome},
    observe::{End, Recording},
};

/// One call that a breaker let through.
#[derive(Debug)]
pub struct BreakerRecording {
    pub(super) circuit: Arc<Circuit>,
    pub(super) ticket: Ticket,
}

impl Recording for BreakerRecording {
    type Scope = ();

    fn enter(&self) {}

    fn end(self, end: &End<'_>) {
        self.circuit.report(self.ticket, result(end.outcome));
    }
}

/// Whose fault was it? Only what speaks against the target counts.
fn result(outcome: &Outcome) -> Result {
    let failed = match (outcome.ending(), outcome.grpc_code(), outcome.http_status()) {
        (Ending::Cancelled, Some(Code::Cancelled), _) | (Ending::Cancelled, None, None) => return Result::Nothing,
        (Ending::Panicked, _, _) | (Ending::Failed(_), None, _) => true,
        (_, Some(code), _) => speaks_against(code),
        (_, None, status) => status.is_some_and(|status| status.is_server_error() || status.as_u16() == 429),
    };
    if failed { Result::Failure } else { Result::Success }
}

/// NOT_FOUND, ABORTED, .. are answers of a target that is well.
fn speaks_against(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Internal
            | Code::ResourceExhausted
            | Code::DataLoss
            | Code::Unknown
    )
}
