//! JSON in protobuf (`google.protobuf.Value`).

use prost_types::value::Kind;
use serde_json::{Number, Value};

pub(super) fn of_proto(value: &prost_types::Value) -> Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(*value),
        Some(Kind::NumberValue(value)) => number(*value),
        Some(Kind::StringValue(value)) => Value::String(value.clone()),
        Some(Kind::ListValue(list)) => list.values.iter().map(of_proto).collect(),
        Some(Kind::StructValue(object)) => {
            object.fields.iter().map(|(name, value)| (name.clone(), of_proto(value))).collect()
        }
    }
}

/// Whole numbers without a fraction, as protobuf's own JSON form has them.
#[allow(clippy::cast_possible_truncation, reason = "only numbers that are whole and small enough are cast")]
fn number(value: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT {
        return Value::from(value as i64);
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whole_numbers_have_no_fraction() {
        let number = |value| of_proto(&prost_types::Value { kind: Some(Kind::NumberValue(value)) });
        assert_eq!([number(1.0), number(-2.5), number(f64::NAN)], [json!(1), json!(-2.5), Value::Null]);
    }
}
