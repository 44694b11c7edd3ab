//! Answers in the text form of protobuf, as they were recorded.

use dapr::dapr::proto::{
    common::v1::InvokeResponse,
    runtime::v1::{
        GetBulkStateResponse, GetSecretResponse, GetStateResponse, GetWorkflowResponse, InvokeBindingResponse,
        TryLockResponse, UnlockResponse,
    },
};
use prost::Message;
use serde_json::{Map, Value, json};
use tonic_types::pb;

/// What was answered, in the same form as the recording.
pub fn decoded(rpc: &str, data: &[u8]) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let value = match rpc {
        "GetState" => {
            let GetStateResponse { data, etag, metadata } = GetStateResponse::decode(data).unwrap();
            fields_of(&[("data", text(&data)), ("etag", etag), ("metadata", metadata.into_keys().collect())])
        }
        "GetBulkState" => {
            let items = GetBulkStateResponse::decode(data).unwrap().items.into_iter();
            let items: Vec<_> = items
                .map(|item| fields_of(&[("key", item.key), ("data", text(&item.data)), ("etag", item.etag)]))
                .collect();
            if items.is_empty() { json!({}) } else { json!({ "items": items }) }
        }
        "GetSecret" => {
            let secret = GetSecretResponse::decode(data).unwrap().data.into_iter();
            json!({"data": secret.map(|(key, value)| json!({"key": [key], "value": [value]})).collect::<Vec<_>>()})
        }
        "InvokeBinding" => fields_of(&[("data", text(&InvokeBindingResponse::decode(data).unwrap().data))]),
        "TryLockAlpha1" => json!({"success": [TryLockResponse::decode(data).unwrap().success.to_string()]}),
        "UnlockAlpha1" => json!({"status": [UnlockResponse::decode(data).unwrap().status().as_str_name()]}),
        "GetWorkflow" | "GetWorkflowBeta1" | "GetWorkflowAlpha1" => {
            fields_of(&[("instance_id", GetWorkflowResponse::decode(data).unwrap().instance_id)])
        }
        "InvokeService" => {
            InvokeResponse::decode(data).unwrap();
            return Value::Null;
        }
        _ => fields_of(&[("unknown", text(data))]),
    };
    let Value::Object(map) = value else { return value };
    without_etags(sorted(map))
}

pub fn fields_of(fields: &[(&str, String)]) -> Value {
    let present = fields.iter().filter(|(_, text)| !text.is_empty());
    present.map(|(name, text)| ((*name).to_owned(), json!([text]))).collect()
}

pub fn details(bytes: &[u8]) -> Value {
    let status = pb::Status::decode(bytes).unwrap();
    let details = status.details.iter().map(|any| {
        let name = any.type_url.strip_prefix("type.googleapis.com/").unwrap();
        let fields = match name {
            "google.rpc.ErrorInfo" => {
                let info = pb::ErrorInfo::decode(&*any.value).unwrap();
                let mut fields = fields_of(&[("reason", info.reason), ("domain", info.domain)]);
                let metadata = info.metadata.into_iter();
                let metadata: Vec<_> = metadata.map(|(key, value)| json!({"key": [key], "value": [value]})).collect();
                if !metadata.is_empty() {
                    fields["metadata"] = metadata.into();
                }
                fields
            }
            "google.rpc.ResourceInfo" => {
                let info = pb::ResourceInfo::decode(&*any.value).unwrap();
                fields_of(&[
                    ("resource_type", info.resource_type),
                    ("resource_name", info.resource_name),
                    ("description", info.description),
                ])
            }
            _ => {
                let violation = pb::BadRequest::decode(&*any.value).unwrap().field_violations.remove(0);
                let violation = fields_of(&[("field", violation.field), ("description", violation.description)]);
                json!({"field_violations": [violation]})
            }
        };
        let Value::Object(map) = fields else { unreachable!() };
        json!([name, sorted(map)])
    });
    details.collect()
}

// ===== protobuf text =====

/// Messages in the text form of protobuf, each field as a list of its values.
pub fn text_proto(text: &str) -> Value {
    let tokens: Vec<char> = text.chars().collect();
    let mut at = 0;
    sorted(fields(&tokens, &mut at))
}

fn fields(text: &[char], at: &mut usize) -> Map<String, Value> {
    let mut map: Map<String, Value> = Map::new();
    loop {
        while *at < text.len() && text[*at].is_whitespace() {
            *at += 1;
        }
        if *at >= text.len() || text[*at] == '}' {
            *at += 1;
            return map;
        }
        let start = *at;
        while text.get(*at).is_some_and(|char| char.is_alphanumeric() || *char == '_') {
            *at += 1;
        }
        let name: String = text[start..*at].iter().collect();
        while text.get(*at).is_some_and(|char| *char == ':' || *char == ' ') {
            *at += 1;
        }
        let value = match text.get(*at) {
            Some('{') => {
                *at += 1;
                Value::Object(fields(text, at))
            }
            Some('"') => Value::String(quoted(text, at)),
            _ => {
                let start = *at;
                while text.get(*at).is_some_and(|char| !char.is_whitespace()) {
                    *at += 1;
                }
                Value::String(text[start..*at].iter().collect())
            }
        };
        map.entry(name).or_insert_with(|| json!([])).as_array_mut().unwrap().push(value);
    }
}

fn quoted(text: &[char], at: &mut usize) -> String {
    let mut string = String::new();
    *at += 1;
    // A recording may be cut.
    while *at < text.len() && text[*at] != '"' {
        if text[*at] == '\\' {
            *at += 1;
        }
        string.extend(text.get(*at));
        *at += 1;
    }
    *at += 1;
    string
}

/// Maps come in any order.
pub fn sorted(map: Map<String, Value>) -> Value {
    let sort = |(name, value): (String, Value)| {
        let Value::Array(values) = value else { return (name, value) };
        let mut values: Vec<_> =
            values.into_iter().map(|value| if let Value::Object(map) = value { sorted(map) } else { value }).collect();
        values.sort_by_key(Value::to_string);
        (name, Value::Array(values))
    };
    map.into_iter().map(sort).collect()
}

pub fn without_etags(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => map.iter_mut().for_each(|(name, value)| {
            *value = if name == "etag" { "E".into() } else { without_etags(value.take()) };
        }),
        Value::Array(values) => values.iter_mut().for_each(|value| *value = without_etags(value.take())),
        _ => {}
    }
    value
}
