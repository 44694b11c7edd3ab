//! The call between its attempts: whether there is to be another, when, and with what.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, request};
use http_body::Body;
use opentelemetry::{Context, KeyValue, trace::TraceContextExt};
use tokio::task::unconstrained;
use tower_service::Service;

use super::{
    ReplayableBody, ResponseBody, Retried,
    attempt::{Attempt, Attempted},
    budget::Permit,
    evidence::{Evidence, Verdict},
    kept::{Carried, Kept},
    layer::Settings,
    pushback::Pushback,
    safety::Plan,
};
use crate::{
    classify::Protocol,
    deadline::{Deadline, GRPC_TIMEOUT, grpc_timeout},
    rpc::Names,
    semconv::{self, name_key},
};

/// gRFC A6: how many attempts were made before this one.
const PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");

/// An overloaded server gets at least this long to recover, if it says nothing itself.
const OVERLOAD_WAIT: Duration = Duration::from_secs(1);

/// A call that may be tried again.
pub(super) struct Call<S, B: ReplayableBody> {
    /// To be asked before each use.
    service: S,
    kept: Kept,
    source: B::Source,
    pub(super) plan: Plan,
    pub(super) settings: Arc<Settings>,
    deadline: Option<Deadline>,
    progress: Progress,
}

/// How far the call has come.
#[derive(Debug)]
struct Progress {
    /// Attempts that the policy counts.
    attempts: u32,
    /// Attempts of any kind, but for the first.
    retries: u32,
    /// Where in the sequence of waits: a server that says how long to wait starts it anew.
    backoff: u32,
    /// Was the call repeated for free?
    repeated: bool,
}

/// The next attempt.
pub(super) struct Next<B> {
    delay: Duration,
    permit: Permit,
    body: B,
    code: &'static str,
    transparent: bool,
}

impl<S, B: ReplayableBody> Call<S, B> {
    #[inline]
    pub(super) fn new(
        service: S,
        head: &request::Parts,
        carried: Carried,
        source: B::Source,
        plan: Plan,
        settings: Arc<Settings>,
    ) -> Self {
        let kept = Kept::new(head, carried, plan.rpc);
        let deadline = match &settings.inbound {
            Some(inbound) => Some(Deadline::after(inbound.within)),
            None => kept.deadline(),
        };
        let progress = Progress { attempts: 1, retries: 0, backoff: 0, repeated: false };
        Self { service, kept, source, plan, settings, deadline, progress }
    }

    /// Is there to be another attempt? Told what the last one came to, and says what is to be counted of it.
    pub(super) fn next(&mut self, verdict: &Verdict) -> Option<Next<B>> {
        let policy = &self.settings.policy;
        if let (true, Some(budget)) = (verdict.is_healthy(), &policy.budget) {
            budget.deposit();
        }
        let Some(code) = verdict.code else {
            self.settings.instruments().succeeded(self.plan.rpc);
            return None;
        };
        self.settings.instruments().attempts.add(1, &self.attributes(code));
        if matches!(verdict.evidence, Evidence::Final | Evidence::Lost) {
            return None;
        }
        if let Some(deadline) = &self.deadline {
            deadline.note(code, verdict.message.as_deref());
        }
        // It is as if this attempt had never been made. An empty budget says that the server has more of this to offer.
        if verdict.evidence == Evidence::Refused
            && !self.progress.repeated
            && policy.budget.as_ref().is_none_or(|budget| budget.balance() > 0)
        {
            self.progress.repeated = true;
            return self.prepare(Duration::ZERO, Permit::free(), code, true);
        }
        if !self.plan.allows(policy, verdict.evidence, || B::start(&self.source))
            || !policy.limit.allows(self.progress.attempts, self.deadline.is_some())
        {
            return None;
        }
        let delay = self.delay(verdict)?;
        if let Some(deadline) = self.deadline.as_ref().filter(|deadline| !deadline.leaves(delay)) {
            deadline.give_up();
            return None;
        }
        let permit = match self.settings.policy.budget.as_ref().map(|budget| budget.withdraw()) {
            None => Permit::free(),
            Some(Some(permit)) => permit,
            Some(None) => {
                self.settings.instruments().budget_exhausted.add(1, &self.attributes(code));
                return None;
            }
        };
        self.prepare(delay, permit, code, false)
    }

    /// The wait before the next attempt. `None`: the server does not want one, or not as soon as we would.
    fn delay(&mut self, verdict: &Verdict) -> Option<Duration> {
        let policy = &self.settings.policy;
        match verdict.pushback {
            Pushback::Never => None,
            Pushback::After(delay) if delay > policy.max_pushback => None,
            Pushback::After(delay) => {
                self.progress.backoff = 0;
                Some(delay)
            }
            Pushback::None => {
                self.progress.backoff += 1;
                let delay = policy.backoff.delay(self.progress.backoff, policy.random.draw());
                Some(if verdict.evidence == Evidence::Exhausted { OVERLOAD_WAIT.saturating_add(delay) } else { delay })
            }
        }
    }

    /// Takes the body for it, which ends the sending of the last attempt's.
    fn prepare(&mut self, delay: Duration, permit: Permit, code: &'static str, transparent: bool) -> Option<Next<B>> {
        let body = B::next_body(&mut self.source)?;
        Some(Next { delay, permit, body, code, transparent })
    }

    /// The request of the next attempt.
    fn request(&mut self, next: Next<B>) -> Request<B> {
        self.record(&next);
        self.progress.retries += 1;
        let mut head = self.kept.head();
        if self.plan.protocol == Protocol::Grpc && self.settings.inbound.is_none() {
            let previous = self.progress.attempts - u32::from(next.transparent);
            if previous > 0 {
                head.headers.insert(PREVIOUS_ATTEMPTS, HeaderValue::from(previous));
            }
            if let Some(deadline) = &self.deadline {
                head.headers.insert(GRPC_TIMEOUT, grpc_timeout(deadline.remaining()));
            }
        }
        head.extensions.insert(Retried { retry: self.progress.retries });
        self.progress.attempts += u32::from(!next.transparent);
        next.permit.spend();
        Request::from_parts(head, next.body)
    }

    /// Says on the call's span, in the log and in the metrics that it is tried again.
    fn record(&self, next: &Next<B>) {
        let retry = self.progress.retries + 1;
        self.settings.instruments().delay.record(next.delay.as_secs_f64(), &self.attributes(next.code));
        tracing::debug!(path = self.kept.path(), code = next.code, retry, delay = ?next.delay, "trying again");
        Context::map_current(|context| {
            let span = context.span();
            if span.is_recording() {
                let attributes = vec![
                    KeyValue::new(semconv::ERROR_TYPE, next.code),
                    KeyValue::new("dapr.retry.number", i64::from(retry)),
                    KeyValue::new("dapr.retry.delay", next.delay.as_secs_f64()),
                ];
                span.add_event("dapr.retry", attributes);
            }
        });
    }

    fn method(&self) -> Option<&'static str> {
        self.plan.rpc.map(|rpc| rpc.full_method())
    }

    /// Of what failed. Not on the way of calls that succeed: the name is allocated.
    fn attributes(&self, code: &'static str) -> Vec<KeyValue> {
        let mut attributes = Vec::with_capacity(3);
        attributes.push(KeyValue::new(
            if self.plan.protocol == Protocol::Grpc { semconv::RPC_STATUS } else { semconv::ERROR_TYPE },
            code,
        ));
        if let Some(rpc) = self.plan.rpc {
            attributes.push(KeyValue::new(semconv::RPC_METHOD, rpc.full_method()));
            let body = B::start(&self.source).unwrap_or_default();
            if let (Some(key), Some(name)) = (name_key(rpc), Names::read(rpc, &body).component) {
                attributes.push(KeyValue::new(key, name.to_owned()));
            }
        }
        attributes
    }
}

/// The call is over after so many retries, also if its caller has given it up.
impl<S, B: ReplayableBody> Drop for Call<S, B> {
    fn drop(&mut self) {
        if self.progress.retries == 0 {
            return;
        }
        let method = self.method().map(|method| KeyValue::new(semconv::RPC_METHOD, method));
        self.settings.instruments().retries.record(self.progress.retries.into(), method.as_slice());
    }
}

/// Waits and tries again, as long as there is reason to. Ends with the result of the last attempt.
pub(super) async fn again<S, ReqBody, ResBody>(
    mut call: Call<S, ReqBody>,
    mut next: Next<ReqBody>,
    mut result: Result<Response<ResponseBody<ResBody>>, S::Error>,
) -> Result<Response<ResponseBody<ResBody>>, S::Error>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    S::Error: 'static,
    ReqBody: ReplayableBody,
    ResBody: Body<Data = Bytes> + Unpin,
    ResBody::Error: 'static,
{
    loop {
        if !next.delay.is_zero() {
            tokio::time::sleep(next.delay).await;
        }
        // Asked once, not waited for: what is overloaded is not helped by a queue of retries. Without tokio's limit of what
        // a task may do at a time: in a busy task it makes the semaphore of a buffer, as in tonic's channel, say "pending".
        match unconstrained(poll_fn(|cx| Poll::Ready(call.service.poll_ready(cx)))).await {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => break result = Err(error),
            Poll::Pending => {
                tracing::debug!(path = call.kept.path(), code = next.code, "not tried again: the service is not ready");
                break;
            }
        }
        if let Some(deadline) = call.deadline.as_ref().filter(|deadline| !deadline.leaves(Duration::ZERO)) {
            deadline.give_up();
            break;
        }
        // What the last attempt left behind is let go of before the next begins.
        drop(result);
        let request = call.request(next);
        let mut attempt = pin!(Attempt::new(call.service.call(request)));
        let attempted: Attempted<ResBody, S::Error> =
            poll_fn(|cx| attempt.as_mut().poll_judged(cx, &call.settings, &call.plan)).await;
        result = attempted.0;
        match call.next(&attempted.1) {
            Some(more) => next = more,
            None => break,
        }
    }
    result
}
