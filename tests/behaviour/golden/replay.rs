//! Makes the calls again.

use std::{collections::BTreeMap, convert::Infallible};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::mpsc};

use super::{
    app::{app, subscriptions},
    decoded::{decoded, details, text_proto, without_etags},
    recordings::{Traces, base64_of_hex, has_context, header_map, message_of, pairs, screaming},
};
use crate::{
    behaviour::world::{Beside, World, WorldBuilder},
    real::App,
};

const AGENT: &str = "grpc-python/1.85.1 grpc-c/58.0.0 (linux; chttp2)";

pub struct Replay {
    pub app_a: Beside,
    pub app_b: Beside,
    pub seen: mpsc::UnboundedReceiver<(Value, Traces)>,
    pub world: World,
    _apps: [App; 2],
}

impl Replay {
    pub async fn start(world: WorldBuilder) -> Self {
        let world = world.control_plane().without_resiliency().component("envsecrets", "secretstores.local.env", &[]);
        let world = world.component("files", "bindings.localstorage", &[("rootPath", "$FOLDER/files")]).start().await;
        let (ignored, _) = mpsc::unbounded_channel();
        let (sender, seen) = mpsc::unbounded_channel();
        let apps = [app(ignored, "[]").await, app(sender, &subscriptions().to_string()).await];
        let app_a = world.app("app-a").http(&apps[0]).start().await;
        let app_b = world.app("app-b").http(&apps[1]).start().await;
        Self { app_a, app_b, seen, world, _apps: apps }
    }

    /// What was recorded and what is answered, in the same form.
    pub async fn grpc(&self, record: &Value, message: &[u8]) -> (Value, Value) {
        let rpc = record["rpc"].as_str().unwrap();
        let path = format!("/dapr.proto.runtime.v1.Dapr/{rpc}");
        let mut headers = vec![
            ("content-type".to_owned(), "application/grpc".to_owned()),
            ("te".to_owned(), "trailers".to_owned()),
            ("user-agent".to_owned(), AGENT.to_owned()),
            ("grpc-accept-encoding".to_owned(), "identity, deflate, gzip".to_owned()),
        ];
        // The recording client sent the last of a name first: daprd takes the first that comes.
        for (name, value) in pairs(&record["request_metadata"]).into_iter().rev() {
            let value = if name.ends_with("-bin") { base64_of_hex(&value) } else { value };
            headers.push((name, value));
        }
        let mut frame = vec![0];
        frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        frame.extend(message);
        let stream = TcpStream::connect(("127.0.0.1", self.app_a.grpc)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = hyper::Request::post(format!("http://127.0.0.1:{}{path}", self.app_a.grpc));
        for (name, value) in &headers {
            request = request.header(name, value);
        }
        let response = client.send_request(request.body(of_no_known_length(frame)).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let collected = body.collect().await.unwrap();
        let trailers = collected.trailers().cloned().unwrap_or_else(|| parts.headers.clone());
        let data = collected.to_bytes();
        let has_context = has_context(&record["request_metadata"]);

        let status = tonic::Status::from_header_map(&trailers).unwrap();
        let code = format!("{:?}", status.code());
        let response = if code == "Ok" { decoded(rpc, &data[5..]) } else { Value::Null };
        let actual = json!({
            "code": screaming(&code),
            "message": message_of(status.message()),
            "details": details(status.details()),
            "headers": header_map(parts.headers.iter().map(|(k, v)| (k.as_str(), v.to_str().unwrap())), has_context),
            "body": response,
        });
        let initial = pairs(&record["initial"]);
        let recorded_details = record["details"].as_array().cloned().unwrap_or_default();
        let recorded_details: Vec<_> =
            recorded_details.iter().map(|detail| json!([detail[0], text_proto(detail[1].as_str().unwrap())])).collect();
        let body = record["response"].as_str().map(|text| match rpc {
            // An echo of the request, which is compared as a delivery.
            "InvokeService" => Value::Null,
            _ => without_etags(text_proto(text)),
        });
        let expected = json!({
            "code": record["code"].as_str().unwrap_or("OK"),
            "message": message_of(record["message"].as_str().unwrap_or_default()),
            "details": recorded_details,
            "headers": header_map(initial.iter().map(|(k, v)| (k.as_str(), v.as_str())), has_context),
            "body": body,
        });
        (expected, actual)
    }

    pub async fn http(&self, record: &Value, body: &'static str) -> (Value, Value) {
        let request = record["request"].as_array().unwrap();
        let uri = request[1].as_str().unwrap();
        let mut http = hyper::Request::builder().method(request[0].as_str().unwrap()).uri(uri);
        http = http
            .header("host", "127.0.0.1")
            .header("accept-encoding", "identity")
            .header("user-agent", "Python-urllib/3.11");
        for (name, value) in request[2].as_object().unwrap() {
            http = http.header(name, value.as_str().unwrap());
        }
        let stream = TcpStream::connect(("127.0.0.1", self.app_a.http)).await.unwrap();
        let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let response = client.send_request(http.body(Full::new(Bytes::from(body))).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let has_context = request[2].get("traceparent").is_some();
        let json_of = |text: &str| {
            let mut value: Value = serde_json::from_str(text).unwrap_or_else(|_| text.into());
            if let Some(message) = value["message"].as_str().map(message_of) {
                value["message"] = message.into();
            }
            if value.get("got").is_some() { Value::Null } else { value }
        };
        let headers = pairs(&record["headers"]);
        let expected = json!({
            "status": record["status"],
            "headers": header_map(headers.iter().map(|(k, v)| (k.as_str(), v.as_str())), has_context),
            "body": json_of(record["body"].as_str().unwrap()),
        });
        let actual = json!({
            "status": parts.status.as_u16(),
            "headers": header_map(parts.headers.iter().map(|(k, v)| (k.as_str(), v.to_str().unwrap())), has_context),
            "body": json_of(std::str::from_utf8(&body).unwrap()),
        });
        (expected, actual)
    }

    /// By path, because topics do not wait for each other.
    pub fn deliveries(&mut self) -> BTreeMap<String, Vec<Value>> {
        let mut by_path: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        while let Ok((seen, _)) = self.seen.try_recv() {
            by_path.entry(seen["path"].as_str().unwrap().to_owned()).or_default().push(seen);
        }
        by_path.values_mut().for_each(|seen| seen.sort_by_key(Value::to_string));
        by_path
    }
}

/// daprd hands the length of a call on as that of the app's request: what calls must not say it.
fn of_no_known_length(frame: Vec<u8>) -> impl http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static {
    StreamBody::new(futures_util::stream::iter([Ok(Frame::data(Bytes::from(frame)))]))
}
