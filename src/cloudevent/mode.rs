use http::{HeaderMap, header::CONTENT_TYPE};

/// Is this a single event in structured mode, in JSON? The media type is compared without case and parameters.
///
/// A batch (`application/cloudevents-batch+json`) is not.
pub(crate) fn is_structured(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else { return false };
    let media_type = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(b"application/cloudevents+json")
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};

    #[test]
    fn only_a_single_event_in_json_is_structured() {
        let is_structured = |content_type: &'static str| {
            super::is_structured(&HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]))
        };
        for content_type in [
            "application/cloudevents+json",
            "application/CloudEvents+JSON; charset=utf-8",
            "application/cloudevents+json ;a=b",
        ] {
            assert!(is_structured(content_type), "{content_type}");
        }
        for content_type in [
            "",
            "application/json",
            "application/cloudevents",
            "application/cloudevents+avro",
            "application/cloudevents-batch+json",
            "application/cloudevents+json2",
            "text/plain; application/cloudevents+json",
        ] {
            assert!(!is_structured(content_type), "{content_type}");
        }
        assert!(!super::is_structured(&HeaderMap::new()));
    }
}
