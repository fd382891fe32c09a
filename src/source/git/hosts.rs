//! Keys of hosts that are trusted over ssh, as `ssh-keyscan` prints them and OpenSSH keeps them in `known_hosts`.

use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::origin::{Origin, Position};

/// The most lines.
const LINES_MAX: usize = 10_000;

/// The hosts that are known, each with a key.
#[derive(Clone, Debug, Default)]
pub struct KnownHosts {
    lines: Vec<Line>,
}

#[derive(Clone, Debug)]
struct Line {
    patterns: Vec<String>,
    key: Vec<u8>,
    revoked: bool,
}

impl KnownHosts {
    /// Reads a file of them.
    pub fn parse(file: &str, text: &str) -> Result<KnownHosts, Box<Finding>> {
        let mut lines = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bad = |message: &str| {
                let place = Position::new(u32::try_from(number + 1).unwrap_or(u32::MAX), 1);
                let finding = Finding::error(Code::BadSettings, message).at(Origin::new(&file.into(), place));
                Box::new(finding.hint("a line is `HOST TYPE KEY`, as `ssh-keyscan HOST` prints it"))
            };
            if number >= LINES_MAX {
                return Err(bad("there are too many lines"));
            }
            let mut words = line.split_ascii_whitespace();
            let mut first = words.next().unwrap_or_default();
            let revoked = first == "@revoked";
            if first.starts_with('@') && !revoked {
                return Err(bad("keys of authorities are not supported here; list the keys of the hosts"));
            }
            if revoked {
                first = words.next().unwrap_or_default();
            }
            if first.starts_with('|') {
                return Err(bad("the name of the host is hashed, so that it cannot be told; write it out"));
            }
            let (Some(_), Some(key)) = (words.next(), words.next()) else { return Err(bad("the line holds no key")) };
            let key = base64(key).ok_or_else(|| bad("the key is no base64"))?;
            lines.push(Line { patterns: first.split(',').map(str::to_ascii_lowercase).collect(), key, revoked });
        }
        Ok(KnownHosts { lines })
    }

    /// Whether this host has this key.
    pub fn check(&self, host: &str, port: u16, key: &[u8]) -> Result<(), &'static str> {
        let host = host.to_ascii_lowercase();
        let named = if port == 22 { host.clone() } else { format!("[{host}]:{port}") };
        let meant = |line: &&Line| line.patterns.contains(&named) && !line.patterns.contains(&format!("!{named}"));
        if self.lines.iter().any(|line| line.revoked && line.key == key) {
            return Err("its key is revoked");
        }
        let mut known = self.lines.iter().filter(meant).filter(|line| !line.revoked).peekable();
        if known.peek().is_none() {
            return Err("no key of it is known");
        }
        known.any(|line| line.key == key).then_some(()).ok_or("it shows another key than the one that is known")
    }
}

/// Base64 with the usual alphabet.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0);
    for c in text.trim_end_matches('=').bytes() {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str =
        "# servers\ngit.example,[git.example]:2222 ssh-ed25519 AAAAC3NzaQ==\n@revoked * ssh-ed25519 AAAAC3Nz\n";

    #[test]
    fn a_host_is_trusted_with_the_key_that_is_known_and_no_other() {
        let hosts = KnownHosts::parse("known_hosts", FILE).expect("a good file");
        let key = base64("AAAAC3NzaQ==").expect("base64");
        assert_eq!(hosts.check("Git.example", 22, &key), Ok(()));
        assert_eq!(hosts.check("git.example", 2222, &key), Ok(()));
        assert!(hosts.check("git.example", 2223, &key).is_err());
        assert!(hosts.check("evil.example", 22, &key).is_err());
        assert!(hosts.check("git.example", 22, b"other").is_err());
        assert_eq!(hosts.check("git.example", 22, &base64("AAAAC3Nz").expect("base64")), Err("its key is revoked"));
    }

    #[test]
    fn a_line_that_cannot_be_understood_is_pointed_at() {
        for (text, line) in
            [("\nhost ssh-ed25519", 2), ("|1|a|b ssh-ed25519 AAAA", 1), ("h t !!", 1), ("@cert-authority * a b", 1)]
        {
            let finding = KnownHosts::parse("known_hosts", text).expect_err(text);
            assert_eq!(finding.origin.map(|origin| origin.line), Some(line), "{text}");
        }
    }
}
