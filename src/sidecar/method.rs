//! Names of methods and routes: paths inside one app, never addresses.

use http::uri::PathAndQuery;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// What a request line cannot carry; the rest stands as written.
const UNSAFE: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The method of an invocation as a clean path.
///
/// # Errors
/// What daprd says about a method with `#`, `?`, NUL or a control character.
pub(super) fn normalize(method: &str) -> Result<String, String> {
    if method.contains(['#', '?', '\0']) {
        return Err(format!("method contains forbidden character: {}", quote(method)));
    }
    if let Some(position) = method.bytes().position(|byte| byte.is_ascii_control()) {
        return Err(format!("method contains control character at position {position}: {}", quote(method)));
    }
    Ok(clean(method))
}

/// Resolves `.`, `..` and doubled slashes. Nothing leads above the root, and there is no leading slash.
fn clean(path: &str) -> String {
    let mut kept = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => _ = kept.pop(),
            segment => kept.push(segment),
        }
    }
    kept.join("/")
}

/// The route of a subscription as a path of the app; `None` when it cannot be one.
pub(super) fn route(route: &str) -> Option<PathAndQuery> {
    if route.contains('#') || route.bytes().any(|byte| byte.is_ascii_control()) {
        return None;
    }
    let (path, query) = route.split_once('?').unwrap_or((route, ""));
    target(&clean(path), query)
}

/// A path and a query as they go on the request line.
pub(super) fn target(path: &str, query: &str) -> Option<PathAndQuery> {
    let path = utf8_percent_encode(path, UNSAFE);
    let target =
        if query.is_empty() { format!("/{path}") } else { format!("/{path}?{}", utf8_percent_encode(query, UNSAFE)) };
    PathAndQuery::try_from(target).ok()
}

/// A string as Go's verb `%q` prints it.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            char if char.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(char))),
            char if char.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(char))),
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_method_leads_out_of_the_app() {
        for (method, path) in [
            ("orders", "orders"),
            ("/orders//new/", "orders/new"),
            ("a/../../dapr/config", "dapr/config"),
            ("..", ""),
            ("", ""),
            ("http://evil.example/x", "http:/evil.example/x"),
        ] {
            assert_eq!(normalize(method).unwrap(), path);
        }
        assert_eq!(route("//evil.example/x").unwrap(), "/evil.example/x");
        assert_eq!(route("http://evil.example/a b?c=d e").unwrap(), "/http:/evil.example/a%20b?c=d%20e");
        assert_eq!(route("a\r\nb"), None);
    }

    #[test]
    fn refuses_what_changes_the_meaning_of_a_path() {
        assert_eq!(normalize("echo/x?y=1").unwrap_err(), r#"method contains forbidden character: "echo/x?y=1""#);
        assert_eq!(normalize("a\rb").unwrap_err(), r#"method contains control character at position 1: "a\rb""#);
        assert!(normalize("a\0").is_err());
        assert!(normalize("a#b").is_err());
    }
}
