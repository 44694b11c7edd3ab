use std::{error::Error as _, sync::Arc, time::Duration};

use dapr::dapr::proto::runtime::v1::{GetStateRequest, app_callback_health_check_client::AppCallbackHealthCheckClient};
use http::{Response, StatusCode};
use tonic::{Code, Status, body::Body, metadata::MetadataMap};
use tonic_types::{ErrorDetails, StatusExt};
use tower::ServiceBuilder;
use tower_dapr::{Error, outbound::Dapr, testing::SpanRecorder, trace::TraceLayer};

use crate::{
    closed::closed_before_it_was_sent,
    dapr_server::{Answer, DaprServer},
};

async fn failed(answer: Answer) -> Error {
    let server = DaprServer::default();
    server.answer("GetState", answer);
    server.dapr().state("shelf").get::<u32>("tea").await.unwrap_err()
}

#[tokio::test]
async fn details_and_daprs_own_code_are_read() {
    let mut details = ErrorDetails::new();
    details
        .set_resource_info("state", "shelf", "", "")
        .set_retry_info(Some(Duration::from_secs(2)))
        .add_bad_request_violation("key", "it is bad")
        .add_help_link("read this", "https://docs.dapr.io")
        .set_error_info("DAPR_STATE_NOT_FOUND", "dapr.io", []);
    let status = Status::with_error_details(Code::InvalidArgument, "state store shelf is not found", details);
    let error = failed(Answer::status(status)).await;

    assert_eq!(error.to_string(), "get state from `shelf`: INVALID_ARGUMENT");
    assert_eq!((error.code(), error.message()), (Some(Code::InvalidArgument), "state store shelf is not found"));
    assert_eq!(error.dapr_error_code().as_deref(), Some("DAPR_STATE_NOT_FOUND"));
    let details = error.details();
    assert_eq!(details.resource_info().unwrap().resource_name, "shelf");
    assert_eq!(details.retry_info().unwrap().retry_delay, Some(Duration::from_secs(2)));
    assert_eq!(details.bad_request().unwrap().field_violations[0].field, "key");
    assert_eq!(details.help().unwrap().links[0].url, "https://docs.dapr.io");
    assert!(error.source().unwrap().downcast_ref::<Status>().is_some());
}

#[tokio::test]
async fn without_details_there_is_no_dapr_code() {
    let error = failed(Answer::error(Code::Internal, "failed")).await;
    assert_eq!(error.dapr_error_code(), None);
    assert!(error.details().error_info().is_none());
    let broken = Status::with_details(Code::Internal, "failed", (&b"\xff\xff\xff"[..]).into());
    assert_eq!(failed(Answer::status(broken)).await.dapr_error_code(), None);
    let foreign = ErrorDetails::with_error_info("QUOTA", "googleapis.com", []);
    let foreign = Status::with_error_details(Code::Internal, "failed", foreign);
    assert_eq!(failed(Answer::status(foreign)).await.dapr_error_code(), None);
}

#[tokio::test]
async fn the_status_text_of_an_app_is_no_code_of_daprs() {
    let details = ErrorDetails::with_error_info("Conflict", "dapr.io", []);
    let mut metadata = MetadataMap::new();
    metadata.insert("dapr-http-status", "409".parse().unwrap());
    let status = Status::with_error_details_and_metadata(Code::AlreadyExists, "Conflict", details, metadata);
    let error = failed(Answer::status(status)).await;
    assert_eq!((error.http_status(), error.dapr_error_code()), (Some(StatusCode::CONFLICT), None));
}

#[tokio::test]
async fn a_refused_token_names_the_variable() {
    let error = failed(Answer::error(Code::Unauthenticated, "Unauthorized")).await;
    let text = "get state from `shelf`: UNAUTHENTICATED: `DAPR_API_TOKEN` is not the token of this sidecar";
    assert_eq!(error.to_string(), text);

    // Not the sidecar's refusal: the app's, of whoever called it.
    let mut metadata = MetadataMap::new();
    metadata.insert("dapr-http-status", "401".parse().unwrap());
    let status = Status::with_metadata(Code::Unauthenticated, "Unauthorized", metadata);
    assert_eq!(failed(Answer::status(status)).await.to_string(), "get state from `shelf`: UNAUTHENTICATED");
    let of_the_app = failed(Answer::error(Code::Unauthenticated, "who are you?")).await;
    assert_eq!(of_the_app.to_string(), "get state from `shelf`: UNAUTHENTICATED");
}

#[tokio::test]
async fn a_call_that_the_sidecar_does_not_have_is_told_from_a_failed_one() {
    let text = "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found";
    for (code, message) in [(Code::Unknown, text), (Code::Unimplemented, "Not Implemented")] {
        let error = failed(Answer::error(code, message)).await;
        assert!(error.is_unsupported() && error.to_string().contains("does not have this call"), "{error}");
    }
    let with_code = |code| {
        let details = ErrorDetails::with_error_info(code, "dapr.io", []);
        Status::with_error_details(Code::Unimplemented, "no", details)
    };
    // As daprd says it of a call that its API's configuration denies.
    assert!(failed(Answer::status(with_code("Not Implemented"))).await.is_unsupported());
    let mut metadata = MetadataMap::new();
    metadata.insert("dapr-http-status", "501".parse().unwrap());
    let of_the_app = Status::with_metadata(Code::Unimplemented, "Not Implemented", metadata);
    let no_transactions = with_code("DAPR_STATE_TRANSACTIONS_NOT_SUPPORTED");
    let no_operation = with_code("ERR_NOT_SUPPORTED_STATE_OPERATION");
    let others = [of_the_app, no_transactions, no_operation, Status::unknown("failed"), Status::invalid_argument(text)];
    for status in others {
        let error = failed(Answer::status(status)).await;
        assert!(!error.is_unsupported() && !error.to_string().contains("does not have"), "{error}");
    }
    // An invoked app that speaks gRPC, and lacks the method.
    let server = DaprServer::default();
    server.answer("InvokeService", Answer::error(Code::Unimplemented, "unknown method"));
    let error = server.dapr().invoke("inventory").get("stock").await.unwrap_err();
    assert!(!error.is_unsupported(), "{error}");
    assert_eq!(error.to_string(), "invoke `inventory`: UNIMPLEMENTED");
}

type Question = fn(&Error) -> bool;

#[tokio::test]
async fn each_question_is_answered_yes_for_its_codes_only() {
    let questions: [(Question, &[Code]); 9] = [
        (Error::is_not_found, &[Code::NotFound]),
        (Error::is_already_exists, &[Code::AlreadyExists]),
        (Error::is_etag_mismatch, &[Code::Aborted]),
        (Error::is_unavailable, &[Code::Unavailable]),
        (Error::is_timeout, &[Code::DeadlineExceeded]),
        (Error::is_unauthenticated, &[Code::Unauthenticated]),
        (Error::is_permission_denied, &[Code::PermissionDenied]),
        (Error::is_exhausted, &[Code::ResourceExhausted, Code::OutOfRange]),
        (Error::is_cancelled, &[Code::Cancelled]),
    ];
    for code in (1..=16).map(Code::from) {
        let error = failed(Answer::error(code, "")).await;
        for (question, (asks, codes)) in questions.iter().enumerate() {
            assert_eq!(asks(&error), codes.contains(&code), "question {question}, {code}");
        }
        assert!(!error.is_invalid() && !error.is_decode());
    }
}

/// hyper calls a request cancelled that was waiting when its connection closed, and tonic says CANCELLED to that. The
/// caller has cancelled nothing, and may ask again.
#[tokio::test]
async fn a_connection_that_closed_is_not_called_a_cancelled_call() {
    let spans = SpanRecorder::new();
    let channel = tower::service_fn(async |request| Err::<Response<Body>, _>(closed_before_it_was_sent(request).await));
    let trace = TraceLayer::client().with_tracer_provider(&spans.provider("app"));
    let dapr = Dapr::new(ServiceBuilder::new().layer(trace).service(channel));
    let error = dapr.state("shelf").get::<u32>("tea").await.unwrap_err();
    assert!(error.is_unavailable() && !error.is_cancelled(), "{error:?}");
    assert_eq!(error.message(), "the connection closed before the request was sent");
    let status = error.source().unwrap();
    assert!(status.source().unwrap().is::<hyper::Error>(), "what hyper said is below it: {status:?}");
    let recorded = spans.spans();
    assert_eq!(recorded[0].attribute_str("rpc.response.status_code"), Some("UNAVAILABLE"));

    // Nor by a generated client over the same stack.
    let status = dapr.raw().get_state(GetStateRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let mut other = AppCallbackHealthCheckClient::new(dapr.grpc_channel("other").unwrap());
    assert_eq!(other.health_check(()).await.unwrap_err().code(), Code::Unavailable);
}

/// A layer that gave a status of its own has said what it means.
#[tokio::test]
async fn a_status_of_a_layer_stays_what_it_is() {
    let channel = tower::service_fn(async |request| {
        let mut status = Status::cancelled("by a layer");
        status.set_source(Arc::new(closed_before_it_was_sent(request).await));
        Err::<Response<Body>, _>(status)
    });
    let error = Dapr::new(channel).state("shelf").get::<u32>("tea").await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Some(Code::Cancelled), "by a layer"));
}
