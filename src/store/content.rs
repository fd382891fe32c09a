//! What columns hold, whatever it is: a row that somebody filled with oddities reads as something that differs from all
//! that a manifest can say. It never stops a pass, and the next apply can overwrite it.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use sqlx::{Row as _, ValueRef as _};

use super::error::StoreError;
use crate::model::value::Value;

/// How deep lists and maps may stand in each other. The schema refuses less than that, and whatever reads plans takes
/// more.
const DEPTH_MAX: usize = 48;

/// How many characters are kept of what cannot be a value.
const EXCERPT_CHARS_MAX: usize = 200;

/// The text of a column; none where it is null. Bytes that are no UTF-8, which a database without an encoding takes,
/// are replaced.
pub(super) fn text(row: &PgRow, at: usize) -> Result<Option<String>, StoreError> {
    let column = row.try_get_raw(at)?;
    if column.is_null() {
        return Ok(None);
    }
    let bytes = column.as_bytes().map_err(sqlx::Error::Decode)?;
    Ok(Some(String::from_utf8_lossy(bytes).into_owned()))
}

/// The text of a column that is never null; empty where it is all the same.
pub(super) fn some_text(row: &PgRow, at: usize) -> Result<String, StoreError> {
    text(row, at).map(Option::unwrap_or_default)
}

/// The value of a column that is selected as the text of its JSON.
pub(super) fn json(row: &PgRow, at: usize) -> Result<Option<Value>, StoreError> {
    Ok(text(row, at)?.map(|json| parse_json(&json)))
}

/// SQL that gives a moment as text, also where it is beyond what RFC 3339 can say.
pub(super) fn moment(column: &str) -> String {
    format!(
        r#"CASE WHEN {column} BETWEEN '0001-01-01T00:00:00Z' AND '9999-12-31T23:59:59.999999Z'
           THEN to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') ELSE {column}::text END"#
    )
}

/// A value from the text of a `jsonb`. Numbers beyond 64 bits become fractions; those beyond all fractions, and what
/// is nested too deep, become a text that tells of them.
pub(super) fn parse_json(json: &str) -> Value {
    match serde_json::from_str::<Value>(json) {
        Ok(value) if is_shallow(&value, DEPTH_MAX) => value,
        _ => tolerant(json.trim(), DEPTH_MAX),
    }
}

fn is_shallow(value: &Value, depth: usize) -> bool {
    match value {
        Value::List(_) | Value::Map(_) if depth == 0 => false,
        Value::List(items) => items.iter().all(|item| is_shallow(item, depth - 1)),
        Value::Map(pairs) => pairs.iter().all(|(_, value)| is_shallow(value, depth - 1)),
        _ => true,
    }
}

fn tolerant(json: &str, depth: usize) -> Value {
    let value = match json.as_bytes().first() {
        Some(b'{') if depth > 0 => serde_json::from_str::<BTreeMap<String, &RawValue>>(json)
            .map(|pairs| Value::map(pairs.into_iter().map(|(key, value)| (key, tolerant(value.get(), depth - 1))))),
        Some(b'[') if depth > 0 => serde_json::from_str::<Vec<&RawValue>>(json)
            .map(|items| Value::List(items.into_iter().map(|item| tolerant(item.get(), depth - 1)).collect())),
        Some(b'{' | b'[') => return Value::text(excerpt(json)),
        // Without the detour a whole number beyond 64 bits would be no value.
        Some(b'-' | b'0'..=b'9') => serde_json::from_str::<serde_json::Value>(json).map(|number| Value::from(&number)),
        _ => serde_json::from_str::<Value>(json),
    };
    value.unwrap_or_else(|_| Value::text(excerpt(json)))
}

/// The beginning of a text. What was left out is counted, so that no manifest says the same by chance.
fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT_CHARS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
    }
}

/// A column's array, selected as JSON, as a set. An item that is none of the set's kind (a null, a list within the list)
/// stays as a text that no manifest takes.
pub(super) fn set(value: Value) -> Value {
    let item = |item: Value| match item {
        Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => Value::text(excerpt(&item.to_string())),
        item => item,
    };
    match value {
        Value::List(items) => {
            let mut items: Vec<Value> = items.into_iter().map(item).collect();
            items.sort();
            items.dedup();
            Value::List(items.into())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_went() {
        // A plan that writes one number and reads another would never be done.
        for number in [0.1, 0.3, 0.1 + 0.2, 1.1e-7, 123_456.789_012_345_67, 5e-324, 1.797e308, -0.7, 2.0 / 3.0] {
            let written = Value::Float(number).to_string();
            assert_eq!(parse_json(&written), Value::Float(number), "{written}");
        }
        let mut number = 0.123_456_789_f64;
        for _ in 0..10_000 {
            number = (number * 9_301.123_456_789).fract() + 1e-3;
            let written = Value::Float(number).to_string();
            assert_eq!(parse_json(&written), Value::Float(number), "{written}");
        }
    }

    #[test]
    fn a_number_beyond_all_others_becomes_a_text_and_its_neighbours_stay() {
        let huge = format!("1{}", "0".repeat(400));
        let value = parse_json(&format!(r#"{{"n": 100000000000000000000, "x": {huge}, "a": "t", "b": [1, {huge}]}}"#));
        assert_eq!(value.get("n"), Some(&Value::Float(1e20)));
        assert_eq!(value.get("a"), Some(&Value::text("t")));
        let told = value.get("x").and_then(Value::as_text).expect("a text");
        assert!(told.starts_with("1000") && told.ends_with("… (401 bytes)"), "{told}");
        assert_eq!(value.get("b").expect("there").items()[0], Value::Int(1));
        assert_eq!(parse_json("-1e400"), Value::text("-1e400"));
        assert_eq!(parse_json("1e-400"), Value::Float(0.0));
    }

    #[test]
    fn what_is_nested_too_deep_becomes_a_text_however_deep_it_is() {
        for depth in [DEPTH_MAX + 1, 127, 128, 200, 100_000] {
            let json = format!(r#"{{"deep": {}1{}, "flat": 1}}"#, "[".repeat(depth), "]".repeat(depth));
            let value = parse_json(&json);
            assert_eq!(value.get("flat"), Some(&Value::Int(1)));
            assert!(is_shallow(&value, DEPTH_MAX), "{depth}");
            let plan = serde_json::to_string(&value).expect("JSON");
            assert_eq!(serde_json::from_str::<Value>(&plan).expect("it is read again"), value);
        }
        let most = format!("{}{}", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX));
        assert_eq!(parse_json(&most).to_string(), most, "as deep as may be, it is whole");
    }

    #[test]
    fn what_is_no_json_at_all_is_a_text() {
        assert_eq!(parse_json("{"), Value::text("{"));
        assert_eq!(parse_json(""), Value::text(""));
    }

    #[test]
    fn odd_items_of_an_array_stay_visible() {
        let told = set(parse_json(r#"["b", null, "a", ["x", "y"], "a"]"#));
        assert_eq!(told.to_string(), r#"["[\"x\",\"y\"]","a","b","null"]"#);
        assert_eq!(set(parse_json("[80, null, 50]")).to_string(), r#"[50,80,"null"]"#);
    }
}
