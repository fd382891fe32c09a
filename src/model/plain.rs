//! What plain text is: which scalars some YAML reader would take for something else, and which characters nobody sees.
//!
//! The reader refuses both where text is meant, and the writer puts such text into quotes; both ask here.

/// What some YAML reader would take this plain scalar for; none where all of them read text.
pub fn misread_as(text: &str) -> Option<&'static str> {
    let bytes = text.as_bytes();
    match bytes.first() {
        None => Some("nothing"),
        Some(b'~' | b'=' | b'<') => match text {
            "~" => Some("nothing"),
            "=" | "<<" => Some("a directive"),
            _ => None,
        },
        Some(b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O') if bytes.len() <= 5 => word(text),
        Some(b'0'..=b'9' | b'+' | b'-' | b'.') => number_or_date(bytes),
        _ => None,
    }
}

fn word(text: &str) -> Option<&'static str> {
    // The three ways of writing that the specifications list: lower, capitalized, upper.
    let is = |word: &str| {
        text == word
            || (text.len() == word.len()
                && text.eq_ignore_ascii_case(word)
                && text.starts_with(|c: char| c.is_ascii_uppercase())
                && (text[1..].bytes().all(|b| b.is_ascii_lowercase()) || text.bytes().all(|b| b.is_ascii_uppercase())))
    };
    if ["y", "n", "yes", "no", "on", "off", "true", "false"].into_iter().any(is) {
        Some("a truth value")
    } else if is("null") {
        Some("nothing")
    } else {
        None
    }
}

fn number_or_date(bytes: &[u8]) -> Option<&'static str> {
    if is_date(bytes) {
        return Some("a date");
    }
    let rest = match bytes {
        [b'+' | b'-', rest @ ..] => rest,
        _ => bytes,
    };
    let special = [".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"];
    (special.iter().any(|word| word.as_bytes() == rest) || is_number(rest)).then_some("a number")
}

fn is_date(bytes: &[u8]) -> bool {
    let digits = |from: &[u8]| from.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits(bytes) != 4 || bytes.get(4) != Some(&b'-') {
        return false;
    }
    let month = digits(&bytes[5..]);
    let after_month = 5 + month;
    if !matches!(month, 1 | 2) || bytes.get(after_month) != Some(&b'-') {
        return false;
    }
    let day = digits(&bytes[after_month + 1..]);
    let rest = &bytes[after_month + 1 + day..];
    matches!(day, 1 | 2)
        && match rest {
            [] => true,
            [b'T' | b't' | b' ', next, ..] => next.is_ascii_digit(),
            _ => false,
        }
}

/// Without sign: decimal, octal, hexadecimal, binary, sexagesimal, with underscores, fractions and exponents.
fn is_number(rest: &[u8]) -> bool {
    match rest {
        [b'0', b'x', hex @ ..] => return !hex.is_empty() && hex.iter().all(|b| b.is_ascii_hexdigit() || *b == b'_'),
        [b'0', b'o', octal @ ..] => return !octal.is_empty() && octal.iter().all(|b| matches!(b, b'0'..=b'7' | b'_')),
        [b'0', b'b', bits @ ..] => return !bits.is_empty() && bits.iter().all(|b| matches!(b, b'0' | b'1' | b'_')),
        _ => {}
    }
    let run = |from: usize| rest[from..].iter().take_while(|b| b.is_ascii_digit() || **b == b'_').count();
    let mut at = run(0);
    let mut digits = rest[..at].iter().filter(|b| b.is_ascii_digit()).count();
    if at > 0 && digits == 0 {
        return false;
    }
    while rest.get(at) == Some(&b':') {
        let part = run(at + 1);
        if at == 0 || !matches!(part, 1 | 2) {
            return false;
        }
        at += 1 + part;
    }
    if rest.get(at) == Some(&b'.') {
        let fraction = run(at + 1);
        digits += fraction;
        at += 1 + fraction;
    }
    if digits == 0 {
        return false;
    }
    if matches!(rest.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(rest.get(at + 1), Some(b'+' | b'-')));
        let exponent = run((at + 1 + sign).min(rest.len()));
        if exponent == 0 {
            return false;
        }
        at += 1 + sign + exponent;
    }
    at == rest.len()
}

/// Whether a character cannot be seen, or changes how others are seen.
pub fn is_unseen(c: char) -> bool {
    match c {
        '\t' | '\n' => false,
        '\0'..='\u{1F}' | '\u{7F}'..='\u{9F}' => true,
        ' '..='~' => false,
        '\u{AD}'
        | '\u{61C}'
        | '\u{115F}'
        | '\u{1160}'
        | '\u{180E}'
        | '\u{200B}'..='\u{200F}'
        | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}'
        | '\u{3164}'
        | '\u{FEFF}'
        | '\u{FFA0}'
        | '\u{FFF9}'..='\u{FFFB}'
        | '\u{FFFE}'
        | '\u{FFFF}'
        | '\u{E0000}'..='\u{E007F}' => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_any_yaml_reader_takes_for_something_else_is_told() {
        for text in ["", "~", "null", "Null", "NULL"] {
            assert_eq!(misread_as(text), Some("nothing"), "{text}");
        }
        for text in ["y", "N", "yes", "No", "ON", "off", "true", "False"] {
            assert_eq!(misread_as(text), Some("a truth value"), "{text}");
        }
        for text in [
            "1",
            "-1",
            "+1",
            "007",
            "0x1F",
            "0o17",
            "0b101",
            "1_000",
            "1.5",
            ".5",
            "1.",
            "1e3",
            "1E-3",
            "-1.5e+3",
            ".inf",
            "-.INF",
            ".nan",
            "12:30",
            "1:00:00",
            "190:20:30.15",
        ] {
            assert_eq!(misread_as(text), Some("a number"), "{text}");
        }
        for text in ["2030-01-01", "2030-1-1", "2030-01-01T00:00:00Z", "2030-01-01 10:00:00"] {
            assert_eq!(misread_as(text), Some("a date"), "{text}");
        }
    }

    #[test]
    fn plain_text_stays_text() {
        for text in [
            "acme",
            "nope",
            "yEs",
            "one",
            "of",
            "1.0.0",
            "10.0.0.1",
            "250 USD",
            "90d",
            "1-2",
            "-",
            "--",
            ".",
            "..",
            "e3",
            "_1",
            "0x",
            "0xg",
            "12:",
            "a@b.c",
            "2030-01",
            "2030-01-01-b",
            "1e",
            "+",
            "-x",
            ":1",
            "team",
            "notes",
        ] {
            assert_eq!(misread_as(text), None, "{text}");
        }
    }
}
