//! What the parser's terse errors mean to the person who wrote the file.

use crate::model::code::Code;

/// The words for one error of the parser.
pub struct Words {
    /// The code.
    pub code: Code,
    /// What is the matter.
    pub message: &'static str,
    /// What to do.
    pub hint: &'static str,
    /// Which place is worth showing.
    pub place: Place,
}

/// Which place is worth showing for an error.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Where the parser stopped.
    Stop,
    /// The last line with content before the parser stopped.
    LineBefore,
    /// Where the innermost open bracket or list stands.
    Opening,
    /// The first tab of the line where the parser stopped.
    Tab,
}

const TABS: &str = "YAML is indented with spaces; replace the tab";
const QUOTE: &str = "put the text into quotes if it is meant literally";

/// Part of the parser's message, and our words for it; the first that fits is taken.
const TABLE: &[(&str, &str, &str, Place)] = &[
    ("tabs disallowed", "a tab stands where indentation is expected", TABS, Place::Tab),
    ("tab cannot be used as indentation", "a tab stands where indentation is expected", TABS, Place::Tab),
    ("found a tab", "a tab stands where indentation is expected", TABS, Place::Tab),
    ("cannot start with a tab", "a block of text is indented with a tab", TABS, Place::Tab),
    (
        "mapping values are not allowed",
        "a second `key:` cannot begin here",
        "check the indentation of this line and of the one above it, or quote a text that contains `: `",
        Place::Stop,
    ),
    (
        "block sequence entries are not allowed",
        "a list item cannot begin here",
        "start the `-` on a line of its own, indented below its key",
        Place::Stop,
    ),
    (
        "mapping keys are not allowed",
        "a key cannot begin here",
        "check the indentation of this line and of the one above it",
        Place::Stop,
    ),
    (
        "simple key expect",
        "this line is no `key: value`",
        "write `key: value`, with a space after the colon",
        Place::LineBefore,
    ),
    (
        "did not find expected '-' indicator",
        "a key stands between the items of a list",
        "indent the key below its item, or end the list before it",
        Place::Stop,
    ),
    (
        "block mapping, did not find expected key",
        "something other than a `key: value` stands among the keys of a mapping",
        "check the indentation of this line and of the one above it",
        Place::Stop,
    ),
    (
        "flow sequence, expected",
        "a `[` is not closed",
        "add the missing `,` or `]`; was the file cut off?",
        Place::Opening,
    ),
    (
        "flow mapping, did not find",
        "a `{` is not closed",
        "add the missing `,` or `}`; was the file cut off?",
        Place::Opening,
    ),
    (
        "quoted scalar, found unexpected end of stream",
        "a quoted text is never closed",
        "add the missing quote; was the file cut off?",
        Place::Stop,
    ),
    (
        "quoted scalar, found unexpected document indicator",
        "a quoted text is not closed before the document ends",
        "add the missing quote",
        Place::Stop,
    ),
    (
        "invalid indentation in quoted scalar",
        "a quoted text is not closed, or goes on without indentation",
        "add the missing quote at the end of the text",
        Place::Stop,
    ),
    (
        "invalid trailing content after double-quoted",
        "something stands behind the closing quote",
        "within double quotes write a quote as `\\\"`",
        Place::Stop,
    ),
    (
        "unknown escape character",
        "a backslash in double quotes is followed by a character that it cannot escape",
        "write a backslash as `\\\\`, or use single quotes",
        Place::Stop,
    ),
    (
        "hexadecimal number",
        "an escape such as `\\x41` or `\\u0041` is incomplete",
        "write all of its digits",
        Place::Stop,
    ),
    (
        "Unicode character escape",
        "an escape names no character; YAML knows no pairs such as `\\ud83d\\ude00`",
        "write the character itself, or save the file under a name that ends in .json",
        Place::Stop,
    ),
    ("unexpected character: `@'", "a plain text cannot begin with `@`", QUOTE, Place::Stop),
    ("unexpected character: ``'", "a plain text cannot begin with a backtick", QUOTE, Place::Stop),
    ("unexpected character: `%'", "a plain text cannot begin with `%`", QUOTE, Place::Stop),
    ("unexpected character", "a plain text cannot begin with this character", QUOTE, Place::Stop),
    ("plain scalar cannot start", "a plain text cannot begin like this", QUOTE, Place::Stop),
    (
        "misplaced bracket",
        "a bracket is closed that was never opened",
        "remove it, or add the opening one",
        Place::Stop,
    ),
    (
        "invalid indentation in flow",
        "what stands within brackets is not indented",
        "indent it further than the key that it belongs to, or add the missing `]` or `}`",
        Place::Stop,
    ),
    (
        "comment intercepting",
        "a comment interrupts a text that goes on below it",
        "move the comment, or put the text into quotes",
        Place::Stop,
    ),
    (
        "wrongly indented line in block scalar",
        "a block of text is indented unevenly",
        "indent all of its lines alike",
        Place::Stop,
    ),
    (
        "block scalar",
        "the head of a block of text is wrong",
        "write `|` or `>` at the end of the line, and the text below it",
        Place::Stop,
    ),
    (
        "invalid content after document end",
        "something stands behind the end of a document",
        "begin the next document with `---` on a line of its own",
        Place::Stop,
    ),
    ("explicit document end", "a directive stands within a document", QUOTE, Place::Stop),
    ("directive", "a directive (`%...`) is wrong", "remove it; manifests need none", Place::Stop),
    ("YAML document", "a directive (`%...`) is wrong", "remove it; manifests need none", Place::Stop),
    (
        "expected <document start>",
        "something stands behind the end of the document",
        "check the indentation of this line, or begin a new document with `---`",
        Place::Stop,
    ),
    (
        "valid YAML whitespace",
        "a space is missing behind this sign",
        "write `key: value` and `- item`, with a space",
        Place::Stop,
    ),
    (
        "invalid indentation",
        "this line is indented in a way that fits nothing above it",
        "align it with its siblings",
        Place::Stop,
    ),
    (
        "did not find expected node content",
        "a value is missing",
        "close the bracket, or write the value; was the file cut off?",
        Place::Opening,
    ),
    ("unexpected eof", "the file ends in the middle of something", "was the file cut off?", Place::LineBefore),
];

/// The words for an error of the parser.
pub fn words(info: &str) -> Words {
    if info.contains("recursion limit") {
        return Words {
            code: Code::TooDeep,
            message: "values are nested too deeply",
            hint: "no manifest needs this depth",
            place: Place::Stop,
        };
    }
    if info.contains("unknown anchor") || info.contains("anchor or alias") {
        return Words {
            code: Code::BadAlias,
            message: "an alias (`*name`) points at nothing above it",
            hint: "define it with `&name` first, or quote a text that begins with `*` or `&`",
            place: Place::Stop,
        };
    }
    if info.contains("TAG") || info.contains(" tag") || info.contains("the handle wasn't declared") {
        return Words {
            code: Code::Tag,
            message: "a tag (`!name`) stands before a value",
            hint: "remove it; a text that begins with `!` belongs into quotes",
            place: Place::Stop,
        };
    }
    if info.contains("byte order mark") || info.contains("unprintable") {
        return Words {
            code: Code::BadCharacter,
            message: "a character that cannot be seen stands here",
            hint: "delete it",
            place: Place::Stop,
        };
    }
    let found = TABLE.iter().find(|(part, ..)| info.contains(part));
    let &(_, message, hint, place) = found.unwrap_or(&(
        "",
        "this is not YAML",
        "check the indentation and the quotes of this line and of the one above it",
        Place::Stop,
    ));
    Words { code: Code::Syntax, message, hint, place }
}
