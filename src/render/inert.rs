//! Text from rows and manifests made harmless for a terminal, a comment and a log.

use crate::model::value::Value;

/// The longest value that is shown in one line; the rest is counted.
const VALUE_CHARS_MAX: usize = 200;

/// Whether a character could move the cursor, hide something or turn the text around.
pub fn is_treacherous(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2028}' | '\u{2029}' | '\u{2060}'..='\u{206F}'
            | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

/// Text on one line, with treacherous characters as `\u{..}`.
pub fn line(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if is_treacherous(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
        out
    })
}

/// A value as compact JSON on one line, cut where it is too long.
pub fn value(value: &Value) -> String {
    let shown = line(&value.to_string());
    match shown.char_indices().nth(VALUE_CHARS_MAX) {
        None => shown,
        Some((at, _)) => format!("{}… ({} characters)", &shown[..at], shown.chars().count()),
    }
}

/// Text that Markdown and HTML take as text.
pub fn markdown(text: &str) -> String {
    line(text).chars().fold(String::new(), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // A mention would ring somebody's bell.
            '@' => out.push_str("&#64;"),
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '~' | '#' | '!' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_codes_and_turned_text_are_shown_and_not_obeyed() {
        assert_eq!(line("a\u{1b}[31mb\u{202E}c\nd"), "a\\u{1b}[31mb\\u{202e}c\\nd");
        assert_eq!(markdown("<img> @all `x` | y"), "&lt;img&gt; &#64;all \\`x\\` \\| y");
    }

    #[test]
    fn a_long_value_is_cut_and_counted() {
        let shown = value(&Value::text("x".repeat(1_000)));
        assert!(shown.ends_with("… (1002 characters)"), "{shown}");
    }
}
