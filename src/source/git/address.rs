//! Addresses of repositories: which there are, and which may be read.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::plain::is_unseen;

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

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
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
            let finding = bad(format!("`{text}` is not among the addresses that may be read"));
            return Err(Box::new(finding.hint("list it in `git.allow` of the settings of the machine")));
        }
        Ok(address)
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
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_off_limits(IpAddr::V4(v4)),
            None => v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast(),
        },
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
    if path.split('/').any(|part| part == "..") {
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
        Some((v6, port)) if v6.parse::<std::net::Ipv6Addr>().is_ok() => (v6, port.strip_prefix(':')),
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

/// `*` stands for any run of characters.
fn matches_pattern(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.len() >= last.len() && rest.ends_with(last)
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
    fn addresses_of_the_own_link_are_off_limits() {
        for text in ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "0.0.0.0", "::"] {
            assert!(is_off_limits(text.parse().expect("an address")), "{text}");
        }
        assert!(!is_off_limits("127.0.0.1".parse().expect("an address")));
        assert!(!is_off_limits("10.0.0.1".parse().expect("an address")));
    }
}
