//! Shapes: what may stand in a value. That of the input comes from its JSON Schema; whatever is not known is anything,
//! and anything may hold everything.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value as Json;

use crate::model::suggest;

/// What may stand in a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Nothing is known of it.
    Any,
    /// A text, a number, true, false or null, which hold nothing: what people call it.
    Plain(&'static str),
    /// An object.
    Object(Rc<Object>),
    /// A list.
    List(Rc<Shape>),
    /// A set.
    Set(Rc<Shape>),
    /// One of these.
    OneOf(Rc<[Shape]>),
}

/// What an object may hold.
#[derive(Debug, PartialEq, Eq)]
pub struct Object {
    /// The fields whose names are known.
    pub fields: BTreeMap<String, Shape>,
    /// All others, if there may be others.
    pub rest: Option<Shape>,
}

/// What stands in brackets, or behind a dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    /// A name.
    Name(&'a str),
    /// A number.
    Number,
    /// Something else: a variable, an expression, `_`.
    Some,
}

/// Why nothing can stand under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// The object has other fields: these.
    Field(Vec<String>),
    /// It is no object, but this.
    Holds(&'static str),
}

impl Shape {
    /// The shape of what a schema describes.
    pub fn of_schema(schema: &Json) -> Shape {
        Reader { definitions: &schema["$defs"], read: BTreeMap::new(), under_way: Vec::new() }.read(schema)
    }

    /// An object of which this is all that is known.
    pub fn map_of(rest: Shape) -> Shape {
        Shape::Object(Rc::new(Object { fields: BTreeMap::new(), rest: Some(rest) }))
    }

    /// A list of these.
    pub fn list_of(item: Shape) -> Shape {
        Shape::List(Rc::new(item))
    }

    /// A set of these.
    pub fn set_of(item: Shape) -> Shape {
        Shape::Set(Rc::new(item))
    }

    /// Any of these.
    pub fn one_of(shapes: impl IntoIterator<Item = Shape>) -> Shape {
        let mut different: Vec<Shape> = Vec::new();
        for shape in shapes {
            let parts = match &shape {
                Shape::OneOf(parts) => parts.to_vec(),
                _ => vec![shape],
            };
            for part in parts {
                if part == Shape::Any {
                    return Shape::Any;
                }
                if !different.contains(&part) {
                    different.push(part);
                }
            }
        }
        match different.len() {
            // Of nothing, nothing can be said.
            0 => Shape::Any,
            1 => different.swap_remove(0),
            _ => Shape::OneOf(different.into()),
        }
    }

    /// What stands under a key.
    pub fn at(&self, key: Key<'_>) -> Result<Shape, Miss> {
        match (self, key) {
            (Shape::Any, _) => Ok(Shape::Any),
            (Shape::Plain(what), _) => Err(Miss::Holds(what)),
            (Shape::List(_), Key::Name(_)) => Err(Miss::Holds("a list")),
            (Shape::List(item) | Shape::Set(item), _) => Ok((**item).clone()),
            (Shape::Object(object), Key::Name(name)) => match (object.fields.get(name), &object.rest) {
                (Some(field), _) => Ok(field.clone()),
                (None, Some(rest)) => Ok(rest.clone()),
                (None, None) => Err(Miss::Field(object.fields.keys().cloned().collect())),
            },
            // A number is the key of a list; keys of objects in JSON are names.
            (Shape::Object(_), Key::Number) => Ok(Shape::Any),
            (Shape::Object(object), Key::Some) => Ok(object.values()),
            (Shape::OneOf(shapes), key) => {
                let (mut found, mut missed) = (Vec::new(), Vec::new());
                for shape in shapes.iter() {
                    match shape.at(key) {
                        Ok(shape) => found.push(shape),
                        Err(miss) => missed.push(miss),
                    }
                }
                if found.is_empty() { Err(Miss::all(missed)) } else { Ok(Shape::one_of(found)) }
            }
        }
    }

    /// What `some x in` gives.
    pub fn item(&self) -> Shape {
        self.at(Key::Some).unwrap_or(Shape::Any)
    }
}

impl Object {
    fn values(&self) -> Shape {
        Shape::one_of(self.fields.values().chain(&self.rest).cloned())
    }
}

impl Miss {
    /// What several shapes miss together: fields say more than that it has none.
    fn all(missed: Vec<Miss>) -> Miss {
        let mut fields = Vec::new();
        let mut holds = "nothing";
        for miss in missed {
            match miss {
                Miss::Field(more) => fields.extend(more),
                Miss::Holds("null") => {}
                Miss::Holds(what) => holds = what,
            }
        }
        fields.sort();
        fields.dedup();
        if fields.is_empty() { Miss::Holds(holds) } else { Miss::Field(fields) }
    }

    /// What to do about a key that is missed.
    pub fn hint(&self, key: &str) -> String {
        match self {
            Miss::Field(known) => match suggest::nearest(key, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    let shown = known.iter().take(12).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                    let more = if known.len() > 12 { ", ..." } else { "" };
                    format!("there are {shown}{more}; `argus policy input` prints a whole input document")
                }
            },
            Miss::Holds("a list") => "a list is asked with `in`, or looked through with `[_]` or `some ... in`".into(),
            Miss::Holds(_) => "`argus policy input` prints a whole input document".into(),
        }
    }
}

struct Reader<'a> {
    definitions: &'a Json,
    /// Those that were read: whoever refers to one has the same, which makes comparing them cheap.
    read: BTreeMap<&'a str, Shape>,
    /// The definitions that are being read: what holds itself is anything.
    under_way: Vec<&'a str>,
}

impl<'a> Reader<'a> {
    fn read(&mut self, schema: &'a Json) -> Shape {
        if let Some(name) = schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
            let known = self.definitions.get(name).filter(|_| !self.under_way.contains(&name));
            let Some(definition) = known else { return Shape::Any };
            if let Some(shape) = self.read.get(name) {
                return shape.clone();
            }
            self.under_way.push(name);
            let shape = self.read(definition);
            self.under_way.pop();
            self.read.insert(name, shape.clone());
            return shape;
        }
        if let Some(several) = ["anyOf", "oneOf"].iter().find_map(|word| schema[*word].as_array()) {
            return Shape::one_of(several.iter().map(|one| self.read(one)));
        }
        match &schema["type"] {
            Json::String(one) => self.of_type(one, schema),
            Json::Array(several) => {
                Shape::one_of(several.iter().map(|one| self.of_type(one.as_str().unwrap_or_default(), schema)))
            }
            _ => Shape::Any,
        }
    }

    fn of_type(&mut self, name: &str, schema: &'a Json) -> Shape {
        match name {
            "object" => {
                let properties = schema["properties"].as_object();
                let mut fields = BTreeMap::new();
                for (name, field) in properties.into_iter().flatten() {
                    fields.insert(name.clone(), self.read(field));
                }
                let rest = match &schema["additionalProperties"] {
                    Json::Bool(false) => None,
                    // What is written for programs names all its fields.
                    Json::Null if properties.is_some() => None,
                    Json::Object(_) => Some(self.read(&schema["additionalProperties"])),
                    _ => Some(Shape::Any),
                };
                Shape::Object(Rc::new(Object { fields, rest }))
            }
            "array" => Shape::list_of(schema.get("items").map_or(Shape::Any, |items| self.read(items))),
            "string" => Shape::Plain("a text"),
            "integer" | "number" => Shape::Plain("a number"),
            "boolean" => Shape::Plain("true or false"),
            "null" => Shape::Plain("null"),
            _ => Shape::Any,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shape() -> Shape {
        Shape::of_schema(&json!({
            "type": "object",
            "properties": {
                "name": { "type": "string" },
                "tags": { "type": ["array", "null"], "items": { "type": "string" } },
                "owner": { "anyOf": [{ "$ref": "#/$defs/Person" }, { "type": "null" }] },
                "people": { "type": "object", "additionalProperties": { "$ref": "#/$defs/Person" } },
                "more": { "description": "Anything." },
            },
            "$defs": {
                "Person": {
                    "type": "object",
                    "properties": { "email": { "type": "string" }, "boss": { "$ref": "#/$defs/Person" } },
                },
            },
        }))
    }

    fn at(path: &[Key<'_>]) -> Result<Shape, Miss> {
        path.iter().try_fold(shape(), |shape, key| shape.at(*key))
    }

    #[test]
    fn a_schema_says_what_stands_where() {
        use Key::{Name, Number, Some};
        let text = Ok(Shape::Plain("a text"));
        assert_eq!(at(&[Name("name")]), text);
        assert_eq!(at(&[Name("tags"), Number]), text);
        assert_eq!(at(&[Name("tags"), Some]), text);
        assert_eq!(at(&[Name("owner"), Name("email")]), text);
        assert_eq!(at(&[Name("people"), Name("ada"), Name("email")]), text);
        assert_eq!(at(&[Name("people"), Some, Name("email")]), text);
        assert_eq!(at(&[Name("more"), Name("x"), Some]), Ok(Shape::Any));
        assert_eq!(at(&[Name("owner"), Name("boss"), Name("whatever")]), Ok(Shape::Any), "it holds itself");
    }

    #[test]
    fn what_cannot_be_there_is_missed() {
        use Key::{Name, Some};
        let field = |names: &[&str]| Err(Miss::Field(names.iter().map(|name| (*name).to_owned()).collect()));
        assert_eq!(at(&[Name("nmae")]), field(&["more", "name", "owner", "people", "tags"]));
        assert_eq!(at(&[Name("owner"), Name("mail")]), field(&["boss", "email"]));
        assert_eq!(at(&[Name("people"), Some, Name("mail")]), field(&["boss", "email"]));
        assert_eq!(at(&[Name("name"), Name("first")]), Err(Miss::Holds("a text")));
        assert_eq!(at(&[Name("tags"), Name("first")]), Err(Miss::Holds("a list")));
        assert_eq!(Miss::Field(vec!["name".into(), "tags".into()]).hint("nmae"), "did you mean `name`?");
    }
}
