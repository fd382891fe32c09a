//! Templates of messages: text with `{{ field }}` in it, and no other form. What a field is called is all that can be said;
//! there are no conditions, no loops and no functions.

/// What begins and what ends a field.
const OPEN: &str = "{{";
const CLOSE: &str = "}}";

/// The longest name of a field.
const FIELD_CHARS_MAX: usize = 100;

/// One part of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// Text as it stands.
    Text(&'a str),
    /// The value of this field: `subject`, `why.message`.
    Field(&'a str),
}

/// Whether this can be the name of a field: words of letters, digits, `_` and `-` with dots between them.
pub fn is_field(name: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    name.len() <= FIELD_CHARS_MAX && name.split('.').all(is_word)
}

/// The parts of a template, or in words what is wrong with it.
pub fn parse(template: &str) -> Result<Vec<Part<'_>>, String> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some(open) = rest.find(OPEN) {
        let line = template[..template.len() - rest.len() + open].matches('\n').count() + 1;
        if open > 0 {
            parts.push(Part::Text(&rest[..open]));
        }
        let inside = &rest[open + OPEN.len()..];
        let Some(close) = inside.find(CLOSE) else {
            return Err(format!("line {line} of the template opens `{{{{` and does not close it"));
        };
        let name = inside[..close].trim();
        if name.is_empty() {
            return Err(format!("`{{{{ }}}}` in line {line} of the template names no field"));
        }
        if !is_field(name) {
            return Err(format!("line {line} of the template holds something else than the name of a field in braces"));
        }
        parts.push(Part::Field(name));
        rest = &inside[close + CLOSE.len()..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_text_and_fields() {
        assert_eq!(
            parse("a {{ subject }}: {{why.message}}!\n").as_deref(),
            Ok(&[
                Part::Text("a "),
                Part::Field("subject"),
                Part::Text(": "),
                Part::Field("why.message"),
                Part::Text("!\n")
            ][..])
        );
        assert_eq!(parse("}} { alone }").as_deref(), Ok(&[Part::Text("}} { alone }")][..]));
        assert_eq!(parse("").as_deref(), Ok(&[][..]));
    }

    #[test]
    fn what_is_no_template_is_told_with_its_line() {
        for (template, told) in [
            ("one\n{{ two", "line 2 of the template opens `{{` and does not close it"),
            ("{{ }}", "`{{ }}` in line 1 of the template names no field"),
            ("a\n\n{{ x | upper }}", "line 3 of the template holds something else"),
            ("{{#if x}}", "something else"),
            ("{{ a..b }}", "something else"),
            ("{{{{ a }}}}", "something else"),
        ] {
            let fault = parse(template).expect_err(template);
            assert!(fault.contains(told), "{template}: {fault}");
        }
    }
}
