use std::fmt;

/// Why JSON does not fit, without the JSON: serde's own text quotes the value that it stumbled over.
pub(super) struct JsonError {
    reason: String,
    line: usize,
    column: usize,
}

impl JsonError {
    pub(super) fn new(error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let text = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
        // serde's texts are `missing field `name``, `invalid type: <found>, expected <static text>`, `unknown variant `<found>`,
        // expected one of ..`. Only what comes from the type, not from the value, is kept.
        let reason = if text.starts_with("missing field `") {
            text.to_owned()
        } else if let Some((_, expected)) = text.rsplit_once(", expected ") {
            format!("expected {expected}")
        } else if error.is_eof() {
            "it ends too early".to_owned()
        } else if error.is_syntax() {
            "it is not JSON".to_owned()
        } else {
            "it does not fit the type".to_owned()
        };
        Self { reason, line, column }
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        // Errors of writing have no place.
        if self.line > 0 {
            write!(f, " at line {} column {}", self.line, self.column)?;
        }
        Ok(())
    }
}

impl fmt::Debug for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JsonError({self})")
    }
}

impl std::error::Error for JsonError {}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::JsonError;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only its shape matters")]
    #[serde(deny_unknown_fields)]
    struct Order {
        sku: u32,
        state: Option<State>,
    }

    #[derive(Debug, Deserialize)]
    enum State {
        Paid,
    }

    fn told(json: &str) -> String {
        JsonError::new(&serde_json::from_str::<Order>(json).unwrap_err()).to_string()
    }

    #[test]
    fn the_reason_is_told_without_the_value() {
        for (json, reason) in [
            (r#"{"sku": "s3cret"}"#, "expected u32 at line 1 column 16"),
            (r#"{"sku": "s3cret, expected s3cret"}"#, "expected u32 at line 1 column 33"),
            (r#"{"state": "Paid"}"#, "missing field `sku` at line 1 column 17"),
            (r#"{"sku": 1, "state": "s3cret"}"#, "expected `Paid` at line 1 column 28"),
            (r#"{"s3cret": 1}"#, "expected `sku` or `state` at line 1 column 9"),
            (r#"{"sku": s3cret}"#, "it is not JSON at line 1 column 9"),
            (r#"{"sku": 1"#, "it ends too early at line 1 column 9"),
        ] {
            assert_eq!(told(json), reason, "{json}");
        }
    }
}
