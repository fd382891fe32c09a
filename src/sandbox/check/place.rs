//! Places: what the engine calls a column is none. It counts a tab as four, and in a text between quotes bytes for
//! characters.

use regorus::unstable::Span;

use crate::model::origin::Position;

/// As how many columns the engine counts a tab.
const TAB_COLUMNS: u32 = 4;

/// Where something begins.
pub fn of(span: &Span) -> Position {
    let before = span.source.contents().get(..span.start as usize);
    let line = before.map(|before| before.rsplit_once('\n').map_or(before, |(_, line)| line));
    Position::new(span.line, line.map_or(span.col, |line| count(line.chars()) + 1))
}

/// The file and the place that an error of the engine is about. It says so in front of the line itself:
///
/// ```text
/// --> policies/a.rego:3:5
///   |
/// 3 |     x := input.y
///   |     ^
/// error: ...
/// ```
pub fn told(error: &str) -> Option<(&str, Position)> {
    let before = error.rsplit_once("\nerror: ").map_or(error, |(before, _)| before);
    let (place, excerpt) = before.rsplit_once("--> ")?.1.split_once('\n')?;
    let mut parts = place.trim().rsplitn(3, ':');
    let mut number = || parts.next()?.parse().ok();
    let (column, line): (u32, u32) = (number()?, number()?);
    let shown = excerpt.lines().find_map(|shown| shown.strip_prefix(&line.to_string())?.split_once("| "));
    Some((parts.next()?, Position::new(line, shown.map_or(column, |(_, text)| real(text, column)))))
}

/// The column of a line that the engine calls by this number.
fn real(line: &str, theirs: u32) -> u32 {
    let (mut column, mut counted, mut quote, mut is_escaped) = (1, 1_u32, None, false);
    for c in line.chars() {
        if counted >= theirs {
            break;
        }
        column += 1;
        counted += match quote {
            _ if c == '\t' => TAB_COLUMNS,
            Some('"') => u32::try_from(c.len_utf8()).unwrap_or(1),
            _ => 1,
        };
        match quote {
            None if matches!(c, '"' | '`') => quote = Some(c),
            Some(open) if c == open && !is_escaped => quote = None,
            _ => {}
        }
        is_escaped = c == '\\' && quote == Some('"') && !is_escaped;
    }
    // What is behind the end of the line stays so.
    column + theirs.saturating_sub(counted)
}

fn count(chars: impl Iterator<Item = char>) -> u32 {
    u32::try_from(chars.count()).unwrap_or(u32::MAX - 1)
}

#[cfg(test)]
mod tests {
    use regorus::Engine;

    use super::*;

    /// Where a `~`, which is no Rego, stands by an error of the engine.
    fn refused(text: &str) -> Position {
        let mut engine = Engine::new();
        let error = engine.add_policy("policies/a.rego".into(), text.into()).expect_err("no Rego").to_string();
        let (file, position) = told(&error).expect("a place");
        assert_eq!(file, "policies/a.rego");
        position
    }

    /// Where the rules stand by their spans.
    fn spanned(body: &str) -> Vec<Position> {
        let mut engine = Engine::new();
        engine.add_policy("a.rego".into(), format!("package a\n{body}\n")).expect("a policy");
        let modules = engine.get_modules().clone();
        let span = |clause: &regorus::unstable::Rule| of(clause.span());
        modules.iter().flat_map(|module| module.policy.iter().map(|clause| span(clause))).collect()
    }

    fn expected(text: &str) -> Position {
        let (line, text) = (1..).zip(text.lines()).find(|(_, line)| line.contains('~')).expect("a mistake");
        Position::new(line, count(text.chars().take_while(|c| *c != '~')) + 1)
    }

    #[test]
    fn an_error_stands_at_the_character_that_it_is_about() {
        let texts = [
            "package a\nx := ~1",
            "package a\n\tx := ~1",
            "package a\n\t\t \tx\t:=\t~1",
            "package a\nx := [\"\u{e4}\u{1f389}\",\t~1]",
            "package a\nx := [`\u{e4}\t\u{1f389}`,\t~1]",
            "package a\nx := [\"\\\\\", \"\\\"\u{e4}\",\t~1]",
            "package a\nx := [`\n\tone`,\t~1]",
        ];
        for text in texts {
            assert_eq!(refused(text), expected(text), "{text}");
        }
    }

    #[test]
    fn a_span_stands_where_it_begins() {
        assert_eq!(
            spanned("x := 1\n\ty := 2\n\t\t\tz := `\u{e4}\t`\n \t w := 1"),
            [Position::new(2, 1), Position::new(3, 2), Position::new(4, 4), Position::new(5, 4),]
        );
    }

    #[test]
    fn what_is_behind_the_line_stays_behind_it() {
        assert_eq!(real("\tx", 9), 6);
        assert_eq!(real("", 3), 3);
        assert_eq!(real("\t\tx", 9), 3);
        assert_eq!(real("x", 1), 1);
    }
}
