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
    /// `None`: there is no more to report.
    pub(super) ticket: Option<Ticket>,
    /// Is it a stream, the first message of which is still to come?
    pub(super) is_awaited: bool,
}

impl Recording for BreakerRecording {
    type Scope = ();

    fn enter(&self) {}

    fn data(&mut self, bytes: usize) {
        // daprd sends one as soon as the component has agreed. Its head says nothing: it comes before an error too.
        if self.is_awaited && bytes > 0 {
            self.is_awaited = false;
            self.ticket = self.ticket.and_then(|ticket| self.circuit.first_message(ticket));
        }
    }

    fn end(self, end: &End<'_>) {
        if let Some(ticket) = self.ticket {
            self.circuit.report(ticket, result(end.outcome));
        }
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
