//! Media types, compared without case and without their parameters (RFC 2045, section 5.1).

const JSON: &str = "application/json";

/// Is this media type JSON? CloudEvents 1.0.2, *JSON Event Format*, section 3.1: the subtype is `json` or ends in `+json`.
pub(super) fn is_json(media_type: &str) -> bool {
    // Nearly always it is, and written like this.
    if media_type == JSON {
        return true;
    }
    let Some((_, subtype)) = essence(media_type).split_once('/') else { return false };
    subtype.eq_ignore_ascii_case("json")
        || subtype
            .len()
            .checked_sub(5)
            .and_then(|at| subtype.get(at..))
            .is_some_and(|end| end.eq_ignore_ascii_case("+json"))
}

/// Is this the one type that daprd itself takes for JSON? (`components-contrib`, `contenttype/utils.go`.)
pub(super) fn is_json_for_daprd(media_type: &str) -> bool {
    media_type == JSON || essence(media_type).eq_ignore_ascii_case(JSON)
}

/// Is this media type text, if its bytes are UTF-8? The types that daprd hands on as a JSON string without loss.
pub(super) fn is_text(media_type: &str) -> bool {
    let essence = essence(media_type);
    let starts = essence.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("text/"));
    starts || essence.eq_ignore_ascii_case("application/xml")
}

/// Is this what daprd calls bytes of which nothing is known?
pub(super) fn is_octets(media_type: &str) -> bool {
    essence(media_type).eq_ignore_ascii_case("application/octet-stream")
}

/// The media type without its parameters.
fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::is_json;

    #[test]
    fn a_json_type_is_told_by_its_subtype() {
        for json in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "text/json",
            "application/vnd.order.v1+json;v=1",
            "a/+JSON",
            "application/cloudevents+json",
        ] {
            assert!(is_json(json), "{json}");
        }
        for other in
            ["", "json", "text/plain", "application/jsonp", "application/xml; a=/json", "a/xjson", "a/bä+jso", "/"]
        {
            assert!(!is_json(other), "{other}");
        }
    }
}
