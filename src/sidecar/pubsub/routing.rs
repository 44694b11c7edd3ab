//! Which route an event takes (`dapr/dapr:pkg/runtime/pubsub/subscriptions.go`, `pkg/expr`).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use cel::{Context, Program};
use http::uri::PathAndQuery;
use serde_json::Value;

use super::super::method;

/// A path of the app, and the events that go there.
#[derive(Clone, Debug)]
pub(in crate::sidecar) struct Rule {
    /// As the app wrote it; empty for all events.
    pub(in crate::sidecar) condition: String,
    /// As the app wrote it.
    pub(in crate::sidecar) path: String,
    pub(super) target: PathAndQuery,
    matcher: Option<Matcher>,
}

/// A compiled CEL expression over `event`.
#[derive(Clone)]
struct Matcher(Arc<Program>);

// ===== impl Rule =====

impl Rule {
    /// # Errors
    /// When the condition is no CEL expression, or the path cannot be one.
    pub(super) fn new(condition: &str, path: &str) -> Result<Self, String> {
        let target = method::route(path).ok_or_else(|| format!("route {path:?} is not a path"))?;
        let condition = condition.trim();
        let matcher = match condition {
            "" => None,
            text => Some(Matcher(Arc::new(Program::compile(text).map_err(|error| error.to_string())?))),
        };
        Ok(Self { condition: condition.to_owned(), path: path.to_owned(), target, matcher })
    }

    /// # Errors
    /// When the condition cannot be evaluated for this event, or gives something other than a bool.
    pub(super) fn matches(&self, event: &Value) -> Result<bool, String> {
        let Some(Matcher(program)) = &self.matcher else { return Ok(true) };
        let mut context = Context::default();
        context.add_variable_from_value("event", to_cel(event));
        match program.execute(&context) {
            Ok(cel::Value::Bool(matches)) => Ok(matches),
            Ok(_) => Err(format!("the condition {:?} is not a bool", self.condition)),
            Err(error) => Err(format!("the condition {:?} failed: {error}", self.condition)),
        }
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Matcher(..)")
    }
}

/// Whole numbers stay whole, so that they can be compared with the literals of an expression.
fn to_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Number(value) => {
            value.as_i64().map(cel::Value::Int).unwrap_or_else(|| cel::Value::Float(value.as_f64().unwrap_or_default()))
        }
        Value::String(value) => value.as_str().into(),
        Value::Array(values) => cel::Value::List(Arc::new(values.iter().map(to_cel).collect())),
        Value::Object(members) => {
            let members: HashMap<String, cel::Value> =
                members.iter().map(|(name, value)| (name.clone(), to_cel(value))).collect();
            cel::Value::Map(members.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn evaluates_conditions_over_the_event() {
        let event = json!({"type": "order.v2", "data": {"n": 5, "price": 1.5, "tags": ["new"]}, "subject": "a/b"});
        for (condition, expected) in [
            ("", true),
            (r#"event.type == "order.v2""#, true),
            ("event.type == 'other'", false),
            ("event.data.n > 4 && event.data.n == 5", true),
            ("event.data.price < 2.0", true),
            ("'new' in event.data.tags", true),
            ("event.type.startsWith('order') || event.missing == 1", true),
            ("has(event.data.none)", false),
            ("event.subject.matches('^a/')", true),
            ("event['type'] != 'x'", true),
        ] {
            assert_eq!(Rule::new(condition, "/x").unwrap().matches(&event), Ok(expected), "{condition}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_condition() {
        assert!(Rule::new("event.type ==", "/x").is_err());
        assert!(Rule::new("", "/a#b").is_err());
        let event = json!({"type": "a"});
        for condition in ["event.missing == 1", "event.type", "other == 1"] {
            assert!(Rule::new(condition, "/x").unwrap().matches(&event).is_err(), "{condition}");
        }
    }
}
