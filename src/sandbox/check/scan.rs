//! What a file looks like before it is parsed: how deep its brackets are nested, and its comments, which the parser
//! throws away.

use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::origin::{Origin, Position};
use crate::policy::PolicyFile;

/// How deep brackets may be nested. The parser takes twice as long for each further level, and no rule is that deep.
const NESTING_LEVELS_MAX: usize = 20;

/// A comment that has its line for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// The line that it stands in, from 1.
    pub line: u32,
    /// What stands behind the `#`.
    pub text: String,
}

/// The comments of a file, unless it is nested too deep.
pub fn scan(file: &PolicyFile) -> Result<Vec<Comment>, Box<Finding>> {
    let mut comments = Vec::new();
    let (mut depth, mut in_raw) = (0_usize, false);
    for (line, text) in (1..).zip(file.text.lines()) {
        let mut chars = text.chars().zip(1..);
        let mut alone = !in_raw;
        while let Some((c, column)) = chars.next() {
            match c {
                '`' => in_raw = !in_raw,
                _ if in_raw => {}
                '#' => {
                    if alone {
                        comments.push(Comment { line, text: chars.map(|(c, _)| c).collect() });
                    }
                    break;
                }
                '"' => {
                    while let Some((c, _)) = chars.next() {
                        match c {
                            '"' => break,
                            '\\' => drop(chars.next()),
                            _ => {}
                        }
                    }
                }
                '(' | '[' | '{' => {
                    depth += 1;
                    if depth > NESTING_LEVELS_MAX {
                        let message = format!("brackets are nested more than {NESTING_LEVELS_MAX} levels deep");
                        let finding = Finding::error(Code::BadPolicy, message);
                        let finding = finding.at(Origin::new(&file.path, Position::new(line, column)));
                        return Err(Box::new(finding.hint("give inner parts a rule of their own")));
                    }
                }
                ')' | ']' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            alone &= c.is_whitespace();
        }
    }
    Ok(comments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(text: &str) -> Result<Vec<(u32, String)>, String> {
        let file = PolicyFile { path: "policies/a.rego".into(), text: text.into() };
        match scan(&file) {
            Ok(comments) => Ok(comments.into_iter().map(|comment| (comment.line, comment.text)).collect()),
            Err(finding) => Err(finding.origin.map(|origin| origin.to_string()).unwrap_or_default()),
        }
    }

    #[test]
    fn only_comments_that_stand_alone_are_kept() {
        let text = "# one\npackage a # two\nx := \"# three \\\" # four\"\n\t#five\ny := `\n# six\n` # seven\n# eight";
        let expected = [(1, " one"), (4, "five"), (8, " eight")].map(|(line, text)| (line, text.to_owned()));
        assert_eq!(scanned(text), Ok(expected.to_vec()));
    }

    #[test]
    fn deep_brackets_are_refused_where_they_become_too_deep() {
        assert_eq!(scanned(&format!("a\n{}", "[".repeat(20))), Ok(vec![]));
        assert_eq!(scanned(&format!("a\n{}", "[{(".repeat(7))), Err("policies/a.rego:2:21".into()));
        assert_eq!(scanned(&"[]\n".repeat(100)), Ok(vec![]));
        assert_eq!(scanned(&format!("\"{0}\" `{0}` #{0}", "[".repeat(100))), Ok(vec![]));
    }
}
