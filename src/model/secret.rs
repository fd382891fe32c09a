//! What a secret looks like: the names of fields that hold one, and the forms of well-known keys. Nothing that looks
//! like one is ever repeated in a message or a drawn line.

pub mod veil;

use std::borrow::Cow;
use std::ops::Range;

use super::plain::is_unseen;

/// What stands where a secret was.
pub const MASK: &str = "********";

/// How many characters must follow the head of a key, so that prose about keys is not taken for one.
const TAIL_CHARS_MIN: usize = 6;

/// The length of the shortest key that is known: `ghp_` and what must follow.
const SECRET_BYTES_MIN: usize = 4 + TAIL_CHARS_MIN;

/// What the first line of a private key says, whoever wrote it.
const PRIVATE_KEY: &[u8] = b"PRIVATE KEY";

/// The longest label in the first line of a private key, in bytes.
const LABEL_BYTES_MAX: usize = 80;

/// The longest name of a parameter of an address that is looked at.
const PARAMETER_BYTES_MAX: usize = 64;

/// The names of fields that hold a secret, in lower case, without hyphens and underscores.
const FIELD_NAMES: &[&str] = &[
    "accesskey",
    "accesstoken",
    "apikey",
    "apisecret",
    "apitoken",
    "authtoken",
    "bearertoken",
    "bottoken",
    "clientsecret",
    "connectionstring",
    "credential",
    "credentials",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "pwd",
    "refreshtoken",
    "secret",
    "secretaccesskey",
    "secretkey",
    "secrettoken",
    "secretvalue",
    "signingkey",
    "signingsecret",
    "slackurl",
    "smtppassword",
    "token",
    "webhook",
    "webhooksecret",
    "webhooktoken",
    "webhookurl",
];

/// Heads of keys that end in an underscore.
const UNDERSCORE: &[(&str, &str)] = &[
    ("argus_sk_", "an API key of this platform"),
    ("github_pat_", "a GitHub token"),
    ("ghp_", "a GitHub token"),
    ("gho_", "a GitHub token"),
    ("ghu_", "a GitHub token"),
    ("ghs_", "a GitHub token"),
    ("ghr_", "a GitHub token"),
    ("sk_live_", "a Stripe key"),
    ("rk_live_", "a Stripe key"),
];

/// Heads of keys that end in a hyphen.
const HYPHEN: &[(&str, &str)] = &[
    ("xoxb-", "a Slack token"),
    ("xoxp-", "a Slack token"),
    ("xoxa-", "a Slack token"),
    ("xoxr-", "a Slack token"),
    ("xoxs-", "a Slack token"),
    ("xapp-", "a Slack token"),
    ("glpat-", "a GitLab token"),
    ("AGE-SECRET-KEY-", "a secret age key"),
    ("-----BEGIN ", "a private key"),
];

/// Heads of addresses that are secrets, which end in a slash.
const SLASH: &[(&str, &str)] = &[
    ("hooks.slack.com/", "a Slack webhook address"),
    ("discord.com/api/webhooks/", "a Discord webhook address"),
    ("discordapp.com/api/webhooks/", "a Discord webhook address"),
    ("webhook.office.com/", "a Teams webhook address"),
];

/// Heads that count only at the start of a text.
const FIRST: &[(&str, &str)] = &[
    ("AKIA", "an AWS access key"),
    ("ASIA", "an AWS access key"),
    ("AIza", "a Google API key"),
    ("hvs.", "a Vault token"),
    ("eyJ", "a signed token"),
];

/// Whether a field of this name holds a secret, whatever its value.
pub fn is_secret_name(name: &str) -> bool {
    if name.len() > 40 {
        return false;
    }
    let plain: String = name.chars().filter(|c| !matches!(c, '-' | '_')).map(|c| c.to_ascii_lowercase()).collect();
    FIELD_NAMES.binary_search(&plain.as_str()).is_ok()
}

/// What kind of secret a text seems to be or to contain, if any.
pub fn looks_like(text: &str) -> Option<&'static str> {
    first_span(text, 0).map(|(_, what)| what)
}

/// The text with everything that looks like a well-known key masked.
pub fn mask(text: &str) -> Cow<'_, str> {
    match without_keys(text) {
        Cow::Borrowed(text) => without_parameters(text),
        Cow::Owned(text) => Cow::Owned(without_parameters(&text).into_owned()),
    }
}

/// Whether a parameter of this name in an address holds a secret: signatures and keys are signed addresses or let in.
pub fn is_secret_parameter(name: &str) -> bool {
    is_secret_name(name) || ["sig", "signature", "code", "key"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// The text without the values of parameters of addresses that hold a secret: `?token=..`, `&sig=..`.
fn without_parameters(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let (mut masked, mut from) = (String::new(), 0);
    for at in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'=').map(|(at, _)| at) {
        if at < from {
            continue;
        }
        let first = at.saturating_sub(PARAMETER_BYTES_MAX).max(from);
        let name = bytes[first..at].iter().rposition(|byte| matches!(byte, b'?' | b'&' | b';'));
        let Some(name) = name.map(|before| first + before + 1).filter(|name| text.is_char_boundary(*name)) else {
            continue;
        };
        let ends =
            |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'&' | b'#' | b'"' | b'\'' | b'<' | b'>' | b'`');
        let end = at + 1 + bytes[at + 1..].iter().position(ends).unwrap_or(bytes.len() - at - 1);
        if end > at + 1 && is_secret_parameter(&text[name..at]) {
            masked.push_str(&text[from..=at]);
            masked.push_str(MASK);
            from = end;
        }
    }
    match from {
        0 => Cow::Borrowed(text),
        from => Cow::Owned(masked + &text[from..]),
    }
}

fn without_keys(text: &str) -> Cow<'_, str> {
    let Some((mut span, _)) = first_span(text, 0) else { return Cow::Borrowed(text) };
    let mut masked = String::with_capacity(text.len());
    let mut from = 0;
    loop {
        masked.push_str(&text[from..span.start]);
        masked.push_str(MASK);
        from = span.end;
        match first_span(text, from) {
            Some((next, _)) => span = next,
            None => break,
        }
    }
    masked.push_str(&text[from..]);
    Cow::Owned(masked)
}

/// How much of a value a message repeats, in characters.
const SHOWN_CHARS_MAX: usize = 60;

/// A value as a message shows it: in backticks, short, and masked if it looks like a secret.
pub fn shown(text: &str) -> String {
    let text = mask(text);
    let mut short: String = text
        .chars()
        .take(SHOWN_CHARS_MAX)
        .map(|c| if c.is_control() || is_unseen(c) || c == '`' { '?' } else { c })
        .collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        short.push('…');
    }
    format!("`{short}`")
}

fn first_span(text: &str, from: usize) -> Option<(Range<usize>, &'static str)> {
    let bytes = text.as_bytes();
    // The shortest head with the shortest tail is as long as this; most values are shorter.
    if bytes.len() < from + SECRET_BYTES_MIN {
        return None;
    }
    let mut token = Token { bytes, end: from, dots_from: from, dots: 0 };
    let word_start = |at: usize| at == 0 || !bytes[at - 1].is_ascii_alphanumeric();
    for at in from..bytes.len() {
        let heads = match bytes[at] {
            b'_' => UNDERSCORE,
            b'-' => HYPHEN,
            b'/' => SLASH,
            b' ' if bytes[..at].ends_with(b"-----BEGIN") => HYPHEN,
            b'A' | b'h' | b'e' if word_start(at) => {
                let found = FIRST.iter().find(|(head, _)| bytes[at..].starts_with(head.as_bytes()));
                if let Some(&(head, what)) = found {
                    let tail = at + head.len();
                    let end = token.end_from(tail);
                    if end - at >= 20 && (head != "eyJ" || token.dots_from(tail) == 2) {
                        return Some((at..end, what));
                    }
                }
                continue;
            }
            _ => continue,
        };
        let done = at + 1;
        if bytes[..done].ends_with(b"://")
            && let Some(end) = credentials_end(bytes, done)
        {
            return Some((done..end, "a password in an address"));
        }
        for &(head, what) in heads {
            let Some(start) = done.checked_sub(head.len()).filter(|start| *start >= from) else { continue };
            if !bytes[start..].starts_with(head.as_bytes()) {
                continue;
            }
            if head.starts_with("-----") {
                let label = &bytes[done..bytes.len().min(done + LABEL_BYTES_MAX)];
                let label = label.split(|byte| *byte == b'\n').next().unwrap_or_default();
                if label.windows(PRIVATE_KEY.len()).any(|window| window == PRIVATE_KEY) {
                    return Some((start..text.len(), what));
                }
                continue;
            }
            if heads.as_ptr() != SLASH.as_ptr() && !word_start(start) {
                continue;
            }
            let end = token.end_from(done);
            if end - done >= TAIL_CHARS_MIN {
                return Some((start..end, what));
            }
        }
    }
    None
}

/// The run of characters of a key that was looked at last. Within it many heads may stand, and each of them ends where
/// the run does: whoever looked for that end once more at every head would need a time that grows with the square.
struct Token<'a> {
    bytes: &'a [u8],
    end: usize,
    dots_from: usize,
    dots: usize,
}

impl Token<'_> {
    /// Where the run ends in which a place lies; places come in rising order.
    fn end_from(&mut self, at: usize) -> usize {
        if at >= self.end {
            self.end = token_end(self.bytes, at);
            (self.dots_from, self.dots) = (at, dots(&self.bytes[at..self.end]));
        }
        self.end
    }

    /// How many dots stand between a place and the end of its run.
    fn dots_from(&mut self, at: usize) -> usize {
        self.end_from(at);
        let passed = self.dots_from.min(at);
        self.dots -= dots(&self.bytes[passed..at]);
        self.dots_from = at;
        self.dots
    }
}

fn dots(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'.').count()
}

/// Where the name and password end that stand before the `@` of an address whose host begins here, if any do.
fn credentials_end(bytes: &[u8], from: usize) -> Option<usize> {
    let ends = |b: &u8| b.is_ascii_whitespace() || matches!(b, b'/' | b'?' | b'#' | b'"' | b'\'' | b'<' | b'>');
    let authority = &bytes[from..];
    let authority = &authority[..authority.iter().position(ends).unwrap_or(authority.len())];
    let at = authority.iter().rposition(|b| *b == b'@')?;
    let colon = authority[..at].iter().position(|b| *b == b':')?;
    (colon + 1 < at).then_some(from + at)
}

fn token_end(bytes: &[u8], from: usize) -> usize {
    let inner =
        |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/' | b'+' | b'=' | b'%' | b'@');
    from + bytes[from.min(bytes.len())..].iter().take_while(|b| inner(b)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_for_the_search() {
        assert!(FIELD_NAMES.is_sorted());
        for name in ["token", "webhookUrl", "webhook_url", "API-KEY", "clientSecret"] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["tokensPerMonth", "apiKeys", "secretRef", "key", "keyPrefix"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn well_known_keys_are_found_and_masked() {
        for secret in [
            "argus_sk_0123456789abcdef",
            "xoxb-123456789-abcdef",
            "ghp_0123456789abcdef",
            "https://hooks.slack.com/services/T0/B0/xyz",
            "-----BEGIN OPENSSH PRIVATE KEY-----\nabc",
            "AKIAIOSFODNN7EXAMPLE",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
            "AGE-SECRET-KEY-1QQQQQQQQ",
        ] {
            assert!(looks_like(secret).is_some(), "{secret}");
            let masked = mask(secret).into_owned();
            assert!(!masked.contains(&secret[secret.len() - 6..]), "{masked}");
        }
        assert_eq!(mask("a ghp_0123456789 b ghp_9876543210 c"), "a ******** b ******** c");
        assert_eq!(mask("at postgres://ada:horse@db.example/x now"), "at postgres://********@db.example/x now");
    }

    #[test]
    fn secrets_in_the_parameters_of_an_address_are_masked() {
        let base = "https://hooks.example/x";
        for (query, shown) in [
            ("?token=SECRET1", "?token=********"),
            ("?a=1&sig=SECRET2&access_key=SECRET3#x", "?a=1&sig=********&access_key=********#x"),
            ("?CODE=SECRET4 and more", "?CODE=******** and more"),
            ("?a=1&page=2", "?a=1&page=2"),
            ("?token=", "?token="),
            ("?note=a=b&é=c", "?note=a=b&é=c"),
        ] {
            assert_eq!(mask(&format!("{base}{query}")), format!("{base}{shown}"));
        }
        assert_eq!(mask("a key = value"), "a key = value");
    }

    #[test]
    fn a_second_head_within_a_token_is_found() {
        let token = "eyJ.eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";
        assert_eq!(mask(token), "eyJ.********");
        assert_eq!(mask("eyJabc-ghp_0123456789 x"), "eyJabc-******** x");
    }

    #[test]
    fn looking_for_keys_takes_a_time_that_grows_with_the_text_and_not_with_its_square() {
        let (done, finished) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for part in [
                "-eyJ",
                "-eyJ.",
                "xghp_",
                "-ghp_ ",
                "-----BEGIN ",
                "-----BEGIN \n",
                "://a:",
                "https://a@",
                "/hvs. ",
                "x",
            ] {
                let text = part.repeat(4_000_000 / part.len());
                assert_eq!(looks_like(&text), None, "{part}");
            }
            for part in ["argus_sk_0123456789 ", "https://a:b@c ", "://a:b@"] {
                let text = part.repeat(4_000_000 / part.len());
                assert!(mask(&text).contains(MASK), "{part}");
            }
            let _ = done.send(());
        });
        // With the square, each of these texts would take half an hour.
        let deadline = std::time::Duration::from_secs(300);
        assert_eq!(finished.recv_timeout(deadline), Ok(()), "it panicked, or it would never have ended");
    }

    #[test]
    fn prose_about_keys_is_no_key() {
        for text in [
            "keys start with argus_sk_ and end",
            "",
            "eyJ",
            "a-b_c/d",
            "-----BEGIN PUBLIC KEY-----",
            "the ghp_ prefix",
            "highs_and_lows_of_life",
            "É/ü_-",
            "https://ada@acme.example/a:b",
            "https://acme.example:8443/@ada",
            "postgres://ada:@db.example",
            "see https://acme.example, or write to a:b@acme.example",
        ] {
            assert_eq!(looks_like(text), None, "{text}");
        }
    }
}
