//! What was recorded, and what is seen, without what differs each time.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The header `traceparent`, and the members of the event.
pub type Traces = [Option<String>; 4];

pub fn traces<'a>(mut headers: impl Iterator<Item = (&'a str, &'a str)>, body: &str) -> Traces {
    let header = headers.find(|(name, _)| name.eq_ignore_ascii_case("traceparent"));
    let event: Value = serde_json::from_str(body).unwrap_or_default();
    let member = |name: &str| event[name].as_str().map(str::to_owned);
    [header.map(|(_, value)| value.to_owned()), member("traceid"), member("traceparent"), member("tracestate")]
}

/// The deliveries of the recorded calls; what follows in the file belongs to other scenarios.
pub fn recorded_deliveries() -> BTreeMap<String, Vec<Value>> {
    let mut by_path: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in include_str!("../../golden/deliveries.jsonl").lines().take(37) {
        let record: Value = serde_json::from_str(line).unwrap();
        let headers = pairs(&record["h"]);
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let (method, path) = (record["m"].as_str().unwrap(), record["p"].as_str().unwrap());
        let seen = delivery(method, path, headers, record["b"].as_str().unwrap());
        by_path.entry(path.to_owned()).or_default().push(seen);
    }
    // Redis handed the messages of one topic over in another order than they were published in.
    by_path.values_mut().for_each(|seen| seen.sort_by_key(Value::to_string));
    by_path
}

pub fn delivery<'a>(method: &str, path: &str, headers: impl Iterator<Item = (&'a str, &'a str)>, body: &str) -> Value {
    let mut body: Value = serde_json::from_str(body).unwrap_or_else(|_| body.into());
    normalize_event(&mut body);
    if let Some(entries) = body.get_mut("entries").and_then(Value::as_array_mut) {
        for entry in entries.iter_mut() {
            normalize_event(&mut entry["event"]);
            entry["entryId"] = "ID".into();
        }
        entries.sort_by_key(|entry| entry["event"]["data"].to_string());
    }
    json!({"method": method, "path": path, "headers": header_map(headers, true), "body": body})
}

fn normalize_event(event: &mut Value) {
    for member in ["id", "time", "expiration"] {
        if event[member].as_str().is_some_and(|text| text.len() >= 20) {
            event[member] = "X".into();
        }
    }
    for member in ["traceid", "traceparent"] {
        if let Some(text) = event[member].as_str().map(trace) {
            event[member] = text.into();
        }
    }
    // An envelope in an envelope.
    if event["data_base64"].as_str().is_some_and(|text| text.len() > 100) {
        event["data_base64"] = "X".into();
    }
    if let Some(object) = event.as_object_mut() {
        object.retain(|_, value| !value.is_null());
    }
}

/// Without what HTTP and its libraries add, and with what differs each time made equal.
pub fn header_map<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>, has_context: bool) -> Value {
    const IGNORED: [&str; 9] = [
        "accept-encoding",
        "connection",
        "content-length",
        "date",
        "grpc-status",
        "grpc-trace-bin",
        "host",
        "transfer-encoding",
        "user-agent",
    ];
    let mut map: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        if IGNORED.contains(&name.as_str()) || name.starts_with("grpc-") || value == "application/grpc" {
            continue;
        }
        let value = match name.as_str() {
            "traceparent" if !has_context => "NEW".to_owned(),
            "traceparent" | "traceid" => trace(value),
            "dapr-date" | "etag" => "X".to_owned(),
            "dapr-authority" => "HOST".to_owned(),
            _ => value.replace("host=vm", "host=HOST").replace("host=localhost", "host=HOST"),
        };
        let value = if name == "x-forwarded-host" { "HOST".to_owned() } else { value };
        map.insert(name, value);
    }
    json!(map)
}

/// A `traceparent` without the span; a new trace and none are the same.
pub fn trace(text: &str) -> String {
    const KNOWN: [&str; 4] = ["0af7651916cd43dd", "3333333333333333", "5555555555555555", "0707070707070707"];
    if text.is_empty() || !KNOWN.iter().any(|known| text.contains(known)) {
        return "NEW".to_owned();
    }
    format!("{}-SPAN-{}", &text[..35], &text[53..])
}

pub fn has_context(metadata: &Value) -> bool {
    pairs(metadata).iter().any(|(_, value)| trace(value) != "NEW" || value.contains("07070707"))
}

/// Without the words of the store.
pub fn message_of(message: &str) -> String {
    let cut = "error from state store: ";
    message.find(cut).map_or_else(|| message.to_owned(), |at| message[..at + cut.len()].to_owned())
}

pub fn screaming(code: &str) -> String {
    let mut text = String::new();
    for char in code.chars() {
        if char.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(char.to_ascii_uppercase());
    }
    text
}

pub fn pairs(value: &Value) -> Vec<(String, String)> {
    let pairs = value.as_array().unwrap().iter();
    pairs.map(|pair| (pair[0].as_str().unwrap().to_owned(), pair[1].as_str().unwrap().to_owned())).collect()
}

pub fn base64_of_hex(hex: &str) -> String {
    use base64::Engine as _;
    let bytes: Vec<u8> = (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect();
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
