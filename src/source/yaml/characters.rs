//! The characters that do not belong into a manifest, because nobody sees them.

use std::sync::Arc;

use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::origin::{Origin, Position};
use crate::model::plain::is_unseen;

/// The finding for a character that does not belong into a manifest.
pub fn bad_character(c: char) -> Finding {
    let what = match c {
        '\0' => "the NUL character",
        '\r' => "a carriage return without a line feed",
        '\u{FEFF}' => "a byte order mark within the file",
        '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => {
            "a character that turns the direction of writing"
        }
        '\u{200B}'..='\u{200D}' | '\u{2060}' | '\u{180E}' | '\u{AD}' => "a character of no width",
        '\u{2028}' | '\u{2029}' | '\u{85}' => "a line break that few editors show",
        '\0'..='\u{9F}' => "a control character",
        _ => "a character that cannot be seen",
    };
    Finding::error(Code::BadCharacter, format!("{what} (U+{:04X}) stands here", c as u32))
        .hint("delete it; whoever reviews this file cannot see it")
}

/// Reports the characters that do not belong into a file.
pub fn report(file: &Arc<str>, text: &str, findings: &mut Vec<Finding>) {
    let bytes = text.as_bytes();
    let mut from = 0;
    // Only control bytes and the lead bytes of characters beyond ASCII need a closer look.
    while let Some(step) =
        bytes[from..].iter().position(|b| !matches!(b, b' '..=b'~' | b'\n' | b'\t') && !matches!(b, 0x80..=0xBF))
    {
        let at = from + step;
        let Some(c) = text[at..].chars().next() else { return };
        from = at + c.len_utf8();
        let crlf = c == '\r' && bytes.get(from) == Some(&b'\n');
        if !is_unseen(c) || crlf {
            continue;
        }
        let line = bytes[..at].iter().filter(|b| **b == b'\n').count() as u32 + 1;
        let line_start = bytes[..at].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let column = text[line_start..at].chars().count() as u32 + 1;
        findings.push(bad_character(c).at(Origin::new(file, Position::new(line, column))));
        // Counting lines from the start each time is quadratic: a few are enough to know what is wrong.
        if findings.len() >= 10 {
            return;
        }
    }
}
