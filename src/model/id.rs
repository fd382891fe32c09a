//! Names: what a resource is called and how a person's address is made comparable.

use std::sync::Arc;

/// The name of an organization, or [`GLOBAL`] for what belongs to none.
pub type OrganizationName = Arc<str>;

/// The organization of resources that all organizations share (tiers).
pub const GLOBAL: &str = "";

/// The longest name of a resource.
pub const NAME_CHARS_MAX: usize = 63;

/// The longest email address.
pub const EMAIL_CHARS_MAX: usize = 254;

/// Says in words what is wrong with a name, if anything: names are lower-case letters, digits and inner hyphens.
pub fn name_fault(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("a name cannot be empty".into());
    }
    if name.chars().count() > NAME_CHARS_MAX {
        return Some(format!("a name has at most {NAME_CHARS_MAX} characters"));
    }
    if let Some(odd) = name.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-' | '_')) {
        return Some(match odd {
            'A'..='Z' => format!("a name is in lower case, and `{odd}` is not"),
            _ if odd.is_ascii() => format!("{odd:?} cannot stand in a name"),
            _ => format!("{odd:?} (U+{:04X}) is not an ASCII letter, however much it may look like one", odd as u32),
        });
    }
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.ends_with(|c: char| c.is_ascii_alphanumeric()) {
        return Some("a name starts and ends with a letter or a digit".into());
    }
    None
}

/// The comparable form of an email address (lower case), or in words what is wrong with it.
pub fn normalize_email(text: &str) -> Result<String, String> {
    if !text.is_ascii() {
        return Err("an email address is ASCII; write an international domain in its `xn--` form".into());
    }
    if text.len() > EMAIL_CHARS_MAX {
        return Err(format!("an email address has at most {EMAIL_CHARS_MAX} characters"));
    }
    let (local, domain) = text.split_once('@').ok_or("an email address is written `name@domain`")?;
    let local_ok = !local.is_empty()
        && local.len() <= 64
        && local.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~.-".contains(&b))
        && !local.starts_with(['.', '-'])
        && !local.ends_with('.')
        && !local.contains("..");
    if !local_ok {
        return Err(format!("`{local}` cannot stand before the @"));
    }
    match domain_fault(domain) {
        Some(fault) => Err(fault),
        None => Ok(text.to_ascii_lowercase()),
    }
}

/// Says in words what is wrong with a domain name, if anything.
pub fn domain_fault(domain: &str) -> Option<String> {
    let label_ok = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let ok = domain.len() <= 253 && domain.contains('.') && domain.split('.').all(label_ok);
    (!ok).then(|| format!("`{domain}` is not a domain name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_mistaken_or_misused_are_refused() {
        for bad in [
            "",
            "-x",
            "x-",
            "..",
            "a/b",
            "Acme",
            "аcme",
            "a b",
            "ﬁn",
            "\u{212A}elvin",
            "a\u{202E}b",
            "a.b",
            &"a".repeat(64),
        ] {
            assert!(name_fault(bad).is_some(), "{bad:?} passed as a name");
        }
        for good in ["acme", "a", "0x", "team_one", "a--b", &"a".repeat(63)] {
            assert_eq!(name_fault(good), None, "{good}");
        }
    }

    #[test]
    fn addresses_that_differ_by_case_are_the_same_person() {
        assert_eq!(normalize_email("Ada@Acme.Example").as_deref(), Ok("ada@acme.example"));
        for bad in ["ada", "@x.y", "a@b", "a b@x.y", "аda@x.y", "a@b..c", "a@-b.c", "a..b@x.y", "a@x.y@z"] {
            assert!(normalize_email(bad).is_err(), "{bad} passed as an address");
        }
    }
}
