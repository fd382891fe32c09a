//! The veil over a picture: what a source does not manage is known by a salted digest alone. Whoever plans with a picture
//! lifts it where their own manifests say the very same.
//!
//! A digest hides what cannot be guessed: free text, names, addresses. Truth values, moments and words of a fixed list
//! would be guessed at once, and the guards count by them; they stay as they are.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::model::kind::KINDS;
use crate::model::kinds::role::BUILT_IN;
use crate::model::resource::Spec;
use crate::model::secret::is_secret_name;
use crate::model::secret::veil::without_secrets;
use crate::model::shape::{Field, Shape};
use crate::model::state::World;
use crate::model::value::Value;

/// What stands before a text that is shown as it is.
const SHOWN: char = '=';

/// What stands before the digest of a value that is not.
const HIDDEN: char = '#';

/// How many digits a digest has: 128 bits.
const DIGEST_DIGITS: usize = 32;

/// How many of them are shown where a value stays hidden.
const TOLD_DIGITS: usize = 16;

/// What is written instead of a value that stays hidden.
const PLACEHOLDER: &str = "redacted-";

/// What is mixed into every digest of one picture, so that no table made in advance helps anybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Salt(String);

impl Salt {
    /// A salt of these bytes.
    pub fn new(random: [u8; 32]) -> Salt {
        Salt(random.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The digest of a value: a text and a number of the same digits have different ones.
    fn digest(&self, value: &Value) -> String {
        let mut hasher = Sha256::new();
        // The length keeps salt and value apart.
        hasher.update((self.0.len() as u64).to_le_bytes());
        hasher.update(self.0.as_bytes());
        hasher.update(value.to_string().as_bytes());
        let digest: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        digest[..DIGEST_DIGITS].to_owned()
    }

    /// What is written instead of a value that stays hidden.
    pub fn placeholder(&self, value: &Value) -> String {
        format!("{PLACEHOLDER}{}", &self.digest(value)[..TOLD_DIGITS])
    }
}

/// A text as it is, marked as such.
pub fn shown_text(text: &str) -> String {
    format!("{SHOWN}{text}")
}

/// Draws the veil, and counts what it hides.
#[derive(Debug)]
pub struct Veil<'a> {
    salt: &'a Salt,
    /// How many values are known by their digest alone.
    pub hidden: u64,
}

impl<'a> Veil<'a> {
    /// A veil of this salt.
    pub fn new(salt: &'a Salt) -> Self {
        Veil { salt, hidden: 0 }
    }

    /// The name of something that others manage.
    pub fn name(&mut self, name: &str) -> String {
        self.hidden += 1;
        format!("{HIDDEN}{}", self.salt.digest(&Value::text(name)))
    }

    /// A value that the manifests name: all of it is shown but what looks like a secret.
    pub fn shown(&mut self, value: &Value) -> Value {
        match value {
            Value::List(items) => Value::List(items.iter().map(|item| self.shown(item)).collect()),
            Value::Map(pairs) => Value::map(pairs.iter().map(|(key, value)| {
                let hides = is_secret_name(key) && !value.is_empty();
                (self.key(key), if hides { self.whole(value) } else { self.shown(value) })
            })),
            Value::Text(text) if without_secrets(value) == *value => Value::text(shown_text(text)),
            Value::Text(_) => self.whole(value),
            other => other.clone(),
        }
    }

    fn key(&mut self, key: &str) -> String {
        let whole = Value::text(key);
        if without_secrets(&whole) == whole { shown_text(key) } else { self.name(key) }
    }

    /// A map of which the manifests name some keys.
    pub fn map(&mut self, value: &Value, named: &Value) -> Value {
        let Value::Map(pairs) = value else { return self.unnamed(&Shape::Map { items_max: 0 }, value) };
        Value::map(pairs.iter().map(|(key, value)| match named.get(key) {
            Some(_) => (self.key(key), self.shown_under(key, value)),
            None => (self.name(key), self.whole(value)),
        }))
    }

    fn shown_under(&mut self, key: &str, value: &Value) -> Value {
        if is_secret_name(key) && !value.is_empty() { self.whole(value) } else { self.shown(value) }
    }

    /// A value that the manifests do not name: nothing of it is shown but how many items it has, and what its form makes
    /// easy to guess.
    pub fn unnamed(&mut self, shape: &Shape, value: &Value) -> Value {
        match (shape, value) {
            (_, Value::Null) => Value::Null,
            (Shape::Bool, Value::Bool(_)) => value.clone(),
            (Shape::Time, Value::Text(text)) if is_moment(text) => Value::text(shown_text(text)),
            (Shape::Enum(words), Value::Text(text)) if words.contains(&&**text) => Value::text(shown_text(text)),
            (Shape::Permission, Value::Text(text)) if is_permission(text) => Value::text(shown_text(text)),
            (Shape::Set { item, .. }, Value::List(items)) => {
                sorted(items.iter().map(|each| self.unnamed(item, each)).collect())
            }
            (Shape::List { fields, .. }, Value::List(items)) => {
                let items = items.iter().map(|item| match item {
                    Value::Map(pairs) => Value::map(pairs.iter().map(|(key, value)| match field(fields, key) {
                        Some(field) => (shown_text(key), self.unnamed(&field.shape, value)),
                        None => (self.name(key), self.whole(value)),
                    })),
                    other => self.whole(other),
                });
                Value::List(items.collect())
            }
            (Shape::Map { .. }, Value::Map(pairs)) => {
                Value::map(pairs.iter().map(|(key, value)| (self.name(key), self.whole(value))))
            }
            (_, value) => self.whole(value),
        }
    }

    /// The digest of a whole value, whatever it is made of.
    fn whole(&mut self, value: &Value) -> Value {
        if value.is_empty() {
            return value.clone();
        }
        self.hidden += 1;
        Value::text(format!("{HIDDEN}{}", self.salt.digest(value)))
    }
}

fn field(fields: &'static [Field], path: &str) -> Option<&'static Field> {
    fields.iter().find(|field| field.path == path)
}

fn is_moment(text: &str) -> bool {
    text.len() <= "2026-01-01T00:00:00.000000Z".len() && crate::model::time::parse_time(text).is_ok()
}

fn is_permission(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b':' | b'*' | b'-' | b'_'))
}

fn sorted(mut items: Vec<Value>) -> Value {
    items.sort();
    Value::List(items.into())
}

/// What somebody knows who plans with a picture: all that stands in their manifests, and the words that everybody knows.
#[derive(Debug)]
pub struct Known {
    values: HashMap<String, Value>,
    placeholder: String,
}

impl Known {
    /// What these manifests tell.
    pub fn of(world: &World, salt: &Salt) -> Known {
        let mut known = Gather { salt, values: HashMap::new(), seen: HashSet::new(), placeholders: 0 };
        for kind in KINDS {
            for field in kind.fields {
                known.value(&field.preset.value());
            }
        }
        BUILT_IN.iter().for_each(|role| known.text(role.name));
        for (name, desired) in &world.organizations {
            known.text(name);
            for resource in &desired.resources {
                known.text(&resource.id.name);
                known.text(resource.previous_name.as_deref().unwrap_or_default());
                known.spec(&resource.spec);
            }
            for rule in &desired.ignore {
                known.text(&rule.name);
                // A rule names `settings.theme`: a field and a key of its map.
                for path in &rule.fields {
                    path.match_indices('.').for_each(|(at, _)| known.text(&path[at + 1..]));
                }
            }
        }
        let Gather { values, placeholders, .. } = known;
        // Nobody can say what a hidden value is called, and so pretend that it is what they say.
        let placeholder = format!("{}{PLACEHOLDER}", "?".repeat(placeholders));
        Known { values, placeholder }
    }

    /// A text without the veil, as far as it is known.
    pub fn text(&self, veiled: &str) -> Arc<str> {
        match self.lift(veiled) {
            Value::Text(text) => Arc::from(text),
            other => other.to_string().into(),
        }
    }

    fn lift(&self, veiled: &str) -> Value {
        if let Some(text) = veiled.strip_prefix(SHOWN) {
            return Value::text(text);
        }
        let digest = veiled.strip_prefix(HIDDEN).unwrap_or(veiled);
        let told = || Value::text(format!("{}{}", self.placeholder, digest.get(..TOLD_DIGITS).unwrap_or(digest)));
        self.values.get(digest).cloned().unwrap_or_else(told)
    }

    /// A value of this form without the veil, as far as it is known, and in the order that is usual for it.
    pub fn value(&self, shape: &Shape, veiled: &Value) -> Value {
        match (shape, veiled) {
            (_, Value::Text(text)) => self.lift(text),
            (Shape::Set { item, .. }, Value::List(items)) => {
                sorted(items.iter().map(|each| self.value(item, each)).collect())
            }
            (Shape::List { fields, key, .. }, Value::List(items)) => {
                let mut items: Vec<Value> = items.iter().map(|item| self.record(fields, item)).collect();
                if !key.is_empty() {
                    items.sort_by(|a, b| a.get(key).cmp(&b.get(key)));
                }
                Value::List(items.into())
            }
            (_, Value::List(items)) => Value::List(items.iter().map(|item| self.value(&Shape::Name, item)).collect()),
            (_, Value::Map(pairs)) => {
                let pair = |(key, value)| (Box::<str>::from(&*self.text(key)), self.value(&Shape::Name, value));
                Value::map(pairs.iter().map(|(key, value)| pair((key, value))))
            }
            (_, other) => other.clone(),
        }
    }

    fn record(&self, fields: &'static [Field], veiled: &Value) -> Value {
        let Value::Map(pairs) = veiled else { return self.value(&Shape::Name, veiled) };
        Value::map(pairs.iter().map(|(key, value)| {
            let key = self.text(key);
            let shape = field(fields, &key).map_or(Shape::Name, |field| field.shape);
            (Box::<str>::from(&*key), self.value(&shape, value))
        }))
    }
}

/// Collects what is known, by digest.
struct Gather<'a> {
    salt: &'a Salt,
    values: HashMap<String, Value>,
    seen: HashSet<Box<str>>,
    /// How many signs have to stand before the placeholder, so that no known text begins like it.
    placeholders: usize,
}

impl Gather<'_> {
    fn spec(&mut self, spec: &Spec) {
        spec.entries().iter().for_each(|entry| self.value(&entry.value));
    }

    fn text(&mut self, text: &str) {
        if self.seen.insert(text.into()) {
            let bare = text.trim_start_matches('?');
            if bare.starts_with(PLACEHOLDER) {
                self.placeholders = self.placeholders.max(text.len() - bare.len() + 1);
            }
            let value = Value::text(text);
            self.values.insert(self.salt.digest(&value), value);
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Text(text) => self.text(text),
            Value::List(items) => items.iter().for_each(|item| self.value(item)),
            Value::Map(pairs) => pairs.iter().for_each(|(key, value)| {
                self.text(key);
                self.value(value);
            }),
            Value::Null | Value::Bool(_) => {}
            Value::Int(_) | Value::Float(_) => drop(self.values.insert(self.salt.digest(value), value.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::OrganizationName;
    use crate::model::state::Desired;

    fn salt() -> Salt {
        Salt::new([7; 32])
    }

    #[test]
    fn what_is_hidden_comes_back_only_where_somebody_says_the_same() {
        let salt = salt();
        let mut veil = Veil::new(&salt);
        let shape = Shape::Set { item: &Shape::Name, items_max: 9 };
        let roles = Value::set(["owner", "night-shift", "acme"]);
        let veiled = veil.unnamed(&shape, &roles);
        assert!(!veiled.to_string().contains("night") && veil.hidden == 3, "{veiled}");
        let name: OrganizationName = "acme".into();
        let mut world = World::default();
        world.organizations.insert(name.clone(), Desired { organization: name, ..Desired::default() });
        let known = Known::of(&world, &salt);
        let lifted = known.value(&shape, &veiled);
        let hidden = salt.placeholder(&Value::text("night-shift"));
        assert_eq!(lifted, Value::set(["acme".to_owned(), "owner".to_owned(), hidden]));
    }

    #[test]
    fn secrets_are_hidden_even_where_the_manifests_name_them() {
        let salt = salt();
        let mut veil = Veil::new(&salt);
        let map = Value::map([("theme", Value::text("dark")), ("password", Value::text("horse"))]);
        let veiled = veil.shown(&map).to_string();
        assert!(veiled.contains("=dark") && !veiled.contains("horse"), "{veiled}");
        let key = veil.shown(&Value::text("argus_sk_0123456789abcdef")).to_string();
        assert!(!key.contains("argus_sk_"), "{key}");
    }

    #[test]
    fn nobody_can_say_what_stands_for_a_hidden_value() {
        let salt = salt();
        let guess = salt.placeholder(&Value::text("night-shift"));
        let name: OrganizationName = guess.as_str().into();
        let mut world = World::default();
        world.organizations.insert(name.clone(), Desired { organization: name, ..Desired::default() });
        let known = Known::of(&world, &salt);
        let told = known.text(&Veil::new(&salt).name("night-shift"));
        assert!(*told != *guess && told.ends_with(&guess), "{told}");
    }

    #[test]
    fn a_number_is_not_the_text_of_its_digits() {
        let salt = salt();
        assert_ne!(salt.digest(&Value::Int(5)), salt.digest(&Value::text("5")));
    }
}
