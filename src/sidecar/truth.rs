//! What counts as true.

/// As Dapr reads flags in metadata and headers (`dapr/kit:strings`).
pub(super) fn is_truthy(text: &str) -> bool {
    ["y", "yes", "true", "t", "on", "1"].iter().any(|truth| text.trim().eq_ignore_ascii_case(truth))
}
