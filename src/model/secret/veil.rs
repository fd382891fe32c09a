//! Values as they may be shown: without what looks like a secret, and without what stands under a name for one.

use super::{MASK, is_secret_name, mask};
use crate::model::kind::KindId;
use crate::model::value::Value;

/// A value without what looks like a secret, and without what stands under a name for secrets in a free map.
pub fn without_secrets(value: &Value) -> Value {
    match value {
        Value::Text(text) => Value::text(mask(text)),
        Value::List(items) => Value::List(items.iter().map(without_secrets).collect()),
        Value::Map(pairs) => {
            let pair = |(name, value): &(Box<str>, Value)| {
                (Box::from(mask(name)), if is_secret_name(name) { hidden(value) } else { without_secrets(value) })
            };
            Value::Map(pairs.iter().map(pair).collect())
        }
        other => other.clone(),
    }
}

/// What says nothing of a value but whether there is one. A truth value is no secret.
fn hidden(value: &Value) -> Value {
    match value {
        Value::Bool(_) => value.clone(),
        value if value.is_empty() => value.clone(),
        _ => Value::text(MASK),
    }
}

/// The value of one path as it may be shown: `settings.password` is a key of a free map, `subject.apiKey` a field.
pub fn at(kind: KindId, path: &str, value: &Value) -> Value {
    let free = kind.get().field(path).is_none();
    let secret = free && path.match_indices('.').any(|(at, _)| is_secret_name(&path[at + 1..]));
    if secret { hidden(value) } else { without_secrets(value) }
}
