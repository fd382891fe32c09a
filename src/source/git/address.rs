//! Addresses of repositories: which there are, and which may be read.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::plain::is_unseen;
use crate::model::secret::MASK;

/// The longest address.
const ADDRESS_BYTES_MAX: usize = 2_048;

/// An address that may be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    text: String,
    place: Place,
}

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On this machine.
    Here(PathBuf),
    /// On a server, by https.
    Https(Server),
    /// On a server, by ssh.
    Ssh(Server),
}

/// A server, and who asks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The user that the address names.
    pub user: Option<String>,
}

/// As it is shown to people: a query may hold a token.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_query(&self.text))
    }
}

fn without_query(text: &str) -> Cow<'_, str> {
    match text.split_once('?') {
        Some((before, query)) if !query.is_empty() => Cow::Owned(format!("{before}?{MASK}")),
        _ => Cow::Borrowed(text),
    }
}

impl Address {
    /// Reads an address; patterns of what is allowed may be none, which allows every server over https and ssh.
    pub fn parse(text: &str, allowed: &[String]) -> Result<Address, Box<Finding>> {
        if text.is_empty() || text.len() > ADDRESS_BYTES_MAX {
            return Err(bad(format!("an address has 1 to {ADDRESS_BYTES_MAX} characters")));
        }
        if text.starts_with('-') || text.chars().any(|c| c.is_whitespace() || c.is_control() || is_unseen(c)) {
            return Err(bad(
                "the address begins with a hyphen, or holds spaces or characters that cannot be seen".into()
            ));
        }
        let place = place(text)?;
        let address = Address { text: text.to_owned(), place };
        // A path is only an address where somebody has typed it; an address that came from elsewhere names a server.
        let by_path = !text.starts_with("file:") && matches!(address.place, Place::Here(_));
        let listed = allowed.iter().any(|pattern| matches_pattern(pattern, text));
        let open = allowed.is_empty() && !text.starts_with("file:");
        if !(listed || open || by_path && allowed.is_empty()) {
            let finding = bad(format!("`{address}` is not among the addresses that may be read"));
            return Err(Box::new(finding.hint("list it in `git.allow` of the settings of the machine")));
        }
        Ok(address)
    }

    /// As it is written, for whoever asks the server and nobody else.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The server, if it is on one.
    pub fn server(&self) -> Option<&Server> {
        match &self.place {
            Place::Here(_) => None,
            Place::Https(server) | Place::Ssh(server) => Some(server),
        }
    }
}

/// Whether a server at this address must not be asked: it answers only to this machine's own link, where clouds keep
/// their credentials, or is no single machine.
pub fn is_off_limits(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => {
            let of_its_own = v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast();
            of_its_own || v6 == CLOUD_SECRETS || within(v6).is_some_and(|v4| is_off_limits(IpAddr::V4(v4)))
        }
    }
}

/// Where a large cloud keeps its credentials by IPv6.
const CLOUD_SECRETS: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// The address of IPv4 that one of IPv6 leads to: mapped, compatible, by NAT64 or by 6to4.
fn within(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => v4(high, low),
        [0x64, 0xff9b, 0 | 1, _, _, _, high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        _ => None,
    }
}

fn place(text: &str) -> Result<Place, Box<Finding>> {
    if let Some(rest) = text.strip_prefix("https://") {
        return Ok(Place::Https(server(rest, 443)?));
    }
    if let Some(rest) = text.strip_prefix("ssh://") {
        return Ok(Place::Ssh(server(rest, 22)?));
    }
    if let Some(rest) = text.strip_prefix("file://") {
        return match rest.starts_with('/') {
            true => Ok(Place::Here(rest.into())),
            false => Err(bad("a `file://` address names an absolute path, and no host".into())),
        };
    }
    if text.contains("://") || text.contains("::") {
        let scheme = text.split(':').next().unwrap_or_default();
        let finding = bad(format!("repositories are not read by `{scheme}`"));
        return Err(Box::new(finding.hint("use https, ssh or a path; the others protect nothing, or run programs")));
    }
    // As ssh and scp write it: `git@host:path`. A slash before the colon makes it a path.
    let colon = text.find(':').filter(|colon| !text[..*colon].contains('/'));
    match colon {
        None => Ok(Place::Here(text.into())),
        Some(colon) if text[colon + 1..].is_empty() => Err(bad("the address names no repository".into())),
        Some(colon) => Ok(Place::Ssh(server(&format!("{}/{}", &text[..colon], &text[colon + 1..]), 22)?)),
    }
}

/// Reads `user@host:port/path`.
fn server(rest: &str, default_port: u16) -> Result<Server, Box<Finding>> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if path.trim_matches('/').is_empty() {
        return Err(bad("the address names no repository".into()));
    }
    // Servers read what is encoded as what it stands for.
    let plain = path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "/");
    if plain.split(['/', '\\']).any(|part| part == "..") {
        return Err(bad("the address climbs with `..`".into()));
    }
    let (user, place) = match authority.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, authority),
    };
    if user.is_some_and(|user| user.contains(':')) {
        let finding = bad("the address holds a password, which everybody would see who sees the address".into());
        let hint = "put it into a file and name that in `git.passwordFile`, or into ARGUS_GIT_PASSWORD";
        return Err(Box::new(finding.hint(hint)));
    }
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, port)) if v6.parse::<Ipv6Addr>().is_ok() => (v6, port.strip_prefix(':')),
        Some(_) => return Err(bad("the host in brackets is no IPv6 address".into())),
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        None => default_port,
        Some(port) => port.parse().map_err(|_| bad(format!("`{port}` is no port")))?,
    };
    let is_v6 = host.contains(':');
    let plain = |word: &str| {
        !word.starts_with(['-', '.']) && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
    };
    if host.is_empty() || !(is_v6 || plain(host)) {
        return Err(bad("the host of the address is no name of a host".into()));
    }
    if user.is_some_and(|user| user.is_empty() || !plain(user)) {
        return Err(bad("the user of the address is no name of a user".into()));
    }
    Ok(Server { host: host.to_ascii_lowercase(), port, user: user.map(str::to_owned) })
}

fn bad(message: String) -> Box<Finding> {
    Box::new(Finding::error(Code::BadRepository, message))
}

/// Whether an address is one that a pattern means. Scheme, host and path are compared one by one, so that no `*` for a host
/// reaches into another part.
fn matches_pattern(pattern: &str, text: &str) -> bool {
    let ((scheme, host, path), (of_scheme, of_host, of_path)) = (parts(pattern), parts(text));
    let whole = |found: &str| !found.contains(['/', ':', '@']);
    let lower = str::to_ascii_lowercase;
    matches_part(&lower(scheme), &lower(of_scheme), &whole)
        && matches_part(&lower(host), &lower(of_host), &whole)
        && matches_part(path, of_path, &|_| true)
}

/// The scheme, the host with user and port, and the path of an address or a pattern.
fn parts(text: &str) -> (&str, &str, &str) {
    if let Some((scheme, rest)) = text.split_once("://") {
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        return (scheme, host, path);
    }
    match text.find(':').filter(|colon| !text[..*colon].contains('/')) {
        Some(colon) => ("", &text[..colon], &text[colon + 1..]),
        None => ("", "", text),
    }
}

/// `*` stands for any run of characters that may stand there.
fn matches_part(pattern: &str, text: &str, may_stand: &dyn Fn(&str) -> bool) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == text };
    let Some(rest) = text.strip_prefix(before) else { return false };
    let ends = (0..=rest.len()).filter(|end| rest.is_char_boundary(*end));
    if !after.contains('*') {
        return rest.strip_suffix(after).is_some_and(may_stand);
    }
    // The shortest run is enough: what a longer one would take is left to the next `*`.
    let next = after.split('*').next().unwrap_or_default();
    let mut ends = ends.filter(|end| rest[*end..].starts_with(next));
    ends.next().is_some_and(|end| may_stand(&rest[..end]) && matches_part(after, &rest[end..], may_stand))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Place, String> {
        Address::parse(text, &[]).map(|address| address.place).map_err(|finding| finding.message)
    }

    #[test]
    fn servers_and_paths_are_told_apart() {
        let at = |host: &str, port, user: Option<&str>| Server { host: host.into(), port, user: user.map(Into::into) };
        assert_eq!(parsed("https://git.example/acme/config.git"), Ok(Place::Https(at("git.example", 443, None))));
        assert_eq!(parsed("https://bot@Git.example:8443/c"), Ok(Place::Https(at("git.example", 8443, Some("bot")))));
        assert_eq!(parsed("ssh://git@[::1]:2222/c.git"), Ok(Place::Ssh(at("::1", 2222, Some("git")))));
        assert_eq!(parsed("git@git.example:acme/c.git"), Ok(Place::Ssh(at("git.example", 22, Some("git")))));
        assert_eq!(parsed("/srv/git/c.git"), Ok(Place::Here("/srv/git/c.git".into())));
        assert_eq!(parsed("./a:b"), Ok(Place::Here("./a:b".into())));
    }

    #[test]
    fn what_runs_programs_protects_nothing_or_hides_something_is_refused() {
        for text in [
            "ext::sh -c id",
            "ext::sh%20-c%20id",
            "git://git.example/c",
            "http://git.example/c",
            "ftp://git.example/c",
            "-oProxyCommand=id",
            "ssh://-oProxyCommand=id/c",
            "ssh://git@-oProxyCommand=id/c",
            "-oProxyCommand=id:c",
            "https://bot:hunter2@git.example/c",
            "https://git.example",
            "https:///c",
            "https://git.example:99999/c",
            "https://git.ex ample/c",
            "https://git.example/c\u{202E}",
            "file://elsewhere/c",
            "https://git.example/acme/../other/c.git",
            "file:///srv/git/c.git",
            "",
        ] {
            let said = parsed(text).expect_err(text);
            assert!(!said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn a_list_allows_what_it_names_and_nothing_else() {
        let list = ["https://git.example/acme/*".to_owned(), "file:///srv/*.git".to_owned()];
        assert!(Address::parse("https://git.example/acme/c.git", &list).is_ok());
        assert!(Address::parse("file:///srv/c.git", &list).is_ok());
        for text in
            ["https://git.example/other/c.git", "https://git.example.evil/acme/c", "/srv/c.git", "file:///srv/c"]
        {
            assert!(Address::parse(text, &list).is_err(), "{text}");
        }
    }

    #[test]
    fn a_run_in_the_host_stays_in_the_host() {
        let list = ["https://*.acme.example/*".to_owned(), "git@*.example:acme/*".to_owned()];
        let allowed = |text: &str| Address::parse(text, &list).is_ok();
        for text in ["https://git.acme.example/c", "https://a.b.ACME.example/x/c.git", "git@git.example:acme/c"] {
            assert!(allowed(text), "{text}");
        }
        for text in [
            "https://evil.example/x.acme.example/c",
            "https://evil.example:443/.acme.example/c",
            "https://me@git.acme.example/c",
            "https://git.acme.example:8443/c",
            "ssh://git.acme.example/c",
            "git@git.example:other/acme/c",
            "git@git.acme.example:x",
            "/x.acme.example/c",
        ] {
            assert!(!allowed(text), "{text}");
        }
        let pattern = format!("https://git.example/{}x", "*a".repeat(12));
        assert!(!matches_pattern(&pattern, &format!("https://git.example/{}", "a".repeat(24))));
    }

    #[test]
    fn a_query_is_nobodys_business_and_no_path_climbs() {
        let address = Address::parse("https://git.example/c?y=token123", &[]).expect("an address");
        assert_eq!((address.to_string().as_str(), address.text().len()), ("https://git.example/c?********", 32));
        let list = ["https://git.example/acme/*".to_owned()];
        let said = Address::parse("https://git.example/other?y=token123", &list).expect_err("not listed").message;
        assert!(!said.contains("token123"), "{said}");
        for text in ["https://git.example/acme/%2e%2E/other/c", "https://git.example/acme/x%2f..%2Fother"] {
            assert!(Address::parse(text, &list).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_of_the_own_link_are_off_limits() {
        for text in [
            "169.254.169.254",
            "fe80::1",
            "::ffff:169.254.169.254",
            "0.0.0.0",
            "::",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a9fe:a9fe",
            "::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "fd00:ec2::254",
        ] {
            assert!(is_off_limits(text.parse().expect("an address")), "{text}");
        }
        assert!(!is_off_limits("127.0.0.1".parse().expect("an address")));
        for text in ["10.0.0.1", "::1", "64:ff9b::a00:1", "fd00::1", "2001:db8::1"] {
            assert!(!is_off_limits(text.parse().expect("an address")), "{text}");
        }
    }
}
