//! What is outside: which addresses messages of organizations may go to. Networks of the machine's own are none of them,
//! however an address is written and whatever a name leads to at the moment of connecting.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// What is said of an address that is not outside.
pub(super) const NOT_OUTSIDE: &str = "leads into a network that messages may not go to";

/// The longest address.
const URL_CHARS_MAX: usize = 4_000;

/// What the settings of the machine allow beside what is outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    hosts: Vec<String>,
    networks: Vec<(IpAddr, u8)>,
}

impl Allowed {
    /// Reads host names, addresses and networks (`10.1.0.0/16`).
    pub fn read(entries: &[String]) -> Result<Allowed, String> {
        let mut allowed = Allowed::default();
        for entry in entries {
            let bad = || format!("`{entry}` under `allow` is no host, no address and no network");
            let (address, length) = match entry.split_once('/') {
                Some((address, length)) => (address, Some(length.parse::<u8>().map_err(|_| bad())?)),
                None => (entry.as_str(), None),
            };
            match address.parse::<IpAddr>() {
                Ok(address) => {
                    let bits = if address.is_ipv4() { 32 } else { 128 };
                    let length = length.unwrap_or(bits);
                    if length > bits {
                        return Err(bad());
                    }
                    allowed.networks.push((address, length));
                }
                Err(_) => {
                    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
                    if length.is_some() || address.is_empty() || !address.bytes().all(known) {
                        return Err(bad());
                    }
                    allowed.hosts.push(host_name(address));
                }
            }
        }
        Ok(allowed)
    }

    fn host(&self, host: &str) -> bool {
        self.hosts.contains(&host_name(host))
    }

    fn address(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|(network, length)| match (network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(*length)).unwrap_or(0);
                u32::from(*network) & mask == u32::from(address) & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(*length)).unwrap_or(0);
                u128::from(*network) & mask == u128::from(address) & mask
            }
            _ => false,
        })
    }
}

/// A name as names are compared.
fn host_name(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// Who decides what is outside, also while names are looked up.
#[derive(Clone, Debug)]
pub struct Outside(Arc<Allowed>);

impl Outside {
    /// With what is allowed beside.
    pub fn new(allowed: Allowed) -> Outside {
        Outside(Arc::new(allowed))
    }

    /// Whether a connection to this address may be made on behalf of a host of this name.
    pub fn admits(&self, host: &str, address: IpAddr) -> bool {
        self.0.host(host) || self.0.address(address) || is_outside(address)
    }

    /// An address of the web that may be sent to: `https`, or `http` where the host is allowed by name or address.
    /// What is written as an address is judged here; names are when they are looked up.
    pub fn address(&self, text: &str) -> Result<Url, String> {
        // What was told of a fault would repeat the address, which may be the secret.
        let url = Url::parse(text).ok().filter(|_| text.len() <= URL_CHARS_MAX).ok_or("the address is none")?;
        let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
            return Err("the address names no host".into());
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the address holds a user or a password".into());
        }
        let literal = literal(host);
        let allowed = self.0.host(host) || literal.is_some_and(|address| self.0.address(address));
        match url.scheme() {
            "https" => {}
            "http" if allowed => {}
            _ => return Err("the address does not begin with https://".into()),
        }
        match literal {
            Some(address) if !self.admits(host, address) => Err(format!("the address {NOT_OUTSIDE}")),
            _ => Ok(url),
        }
    }

    /// The addresses that a name leads to and that may be connected to.
    pub async fn look_up(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        let found: Vec<SocketAddr> = match literal(host) {
            Some(address) => vec![SocketAddr::new(address, port)],
            None => {
                let found = tokio::net::lookup_host((host, port)).await;
                found.map_err(|_| "the name of the host leads nowhere".to_owned())?.collect()
            }
        };
        let some = !found.is_empty();
        let admitted: Vec<SocketAddr> = found.into_iter().filter(|at| self.admits(host, at.ip())).collect();
        match admitted.is_empty() {
            true if some => Err(format!("the name of the host {NOT_OUTSIDE}")),
            true => Err("the name of the host leads nowhere".into()),
            false => Ok(admitted),
        }
    }
}

impl Resolve for Outside {
    fn resolve(&self, name: Name) -> Resolving {
        let outside = self.clone();
        Box::pin(async move {
            let found = outside.look_up(name.as_str(), 0).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The address that a host is written as, if it is none to be looked up.
fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Whether an address is one of the world's, and not one of the machine or of some network of its own.
fn is_outside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_outside_v4(address),
        IpAddr::V6(address) => is_outside_v6(address),
    }
}

fn is_outside_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let inside = match a {
        0 | 10 | 127 | 224..=255 => true,
        100 => (64..128).contains(&b),
        169 => b == 254,
        172 => (16..32).contains(&b),
        192 => matches!((b, c), (0, 0 | 2) | (88, 99) | (168, _)),
        198 => matches!((b, c), (18 | 19, _) | (51, 100)),
        203 => (b, c) == (0, 113),
        _ => false,
    };
    !inside
}

/// Only what is routed in the world, and of that nothing that wraps an address of version 4 or is there for examples.
fn is_outside_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let global = (0x2000..0x4000).contains(&segments[0]);
    let wraps = segments[0] == 0x2002 || (segments[0] == 0x2001 && segments[1] < 0x0200);
    let example = (segments[0] == 0x2001 && segments[1] == 0x0db8) || (segments[0] == 0x3fff && segments[1] < 0x1000);
    global && !wraps && !example
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outside(allow: &[&str]) -> Outside {
        let entries: Vec<String> = allow.iter().map(|entry| (*entry).to_owned()).collect();
        Outside::new(Allowed::read(&entries).expect("entries"))
    }

    #[test]
    fn no_way_of_writing_an_address_leads_inside() {
        let outside = outside(&[]);
        for url in [
            "https://127.0.0.1/",
            "https://127.1/",
            "https://0x7f000001/",
            "https://0x7f.0.0.1/",
            "https://0177.0.0.1/",
            "https://2130706433/",
            "https://１２７.０.０.１/",
            "https://0.0.0.0/",
            "https://10.0.0.1/",
            "https://100.64.0.1/",
            "https://169.254.169.254/latest/meta-data",
            "https://172.16.0.1/",
            "https://172.31.255.255/",
            "https://192.168.1.1/",
            "https://192.0.2.1/",
            "https://198.18.0.1/",
            "https://224.0.0.1/",
            "https://255.255.255.255/",
            "https://[::1]/",
            "https://[::]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:a00:1]/",
            "https://[::127.0.0.1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[2002:7f00:1::]/",
            "https://[2001:0:1::]/",
            "https://[fe80::1]/",
            "https://[fc00::1]/",
            "https://[fd12:3456::1]/",
            "https://[ff02::1]/",
            "https://[2001:db8::1]/",
        ] {
            let fault = outside.address(url).expect_err(url);
            assert!(fault.contains(NOT_OUTSIDE), "{url}: {fault}");
        }
        for url in ["https://1.1.1.1/", "https://[2606:4700::1111]/", "https://hooks.example/x", "https://172.32.0.1/"]
        {
            outside.address(url).expect(url);
        }
    }

    #[test]
    fn an_address_of_the_web_is_https_without_a_password() {
        let outside = outside(&["hooks.internal", "10.1.0.0/16", "fd00::/8", "127.0.0.1"]);
        for (url, told) in [
            ("http://hooks.example/", "https://"),
            ("ftp://hooks.internal/", "https://"),
            ("file:///etc/passwd", "names no host"),
            ("https://user:canary@hooks.example/", "user or a password"),
            ("https://user@hooks.example/", "user or a password"),
            ("canary", "is none"),
            ("https://10.2.0.1/", NOT_OUTSIDE),
            ("https://127.0.0.2/", NOT_OUTSIDE),
        ] {
            let fault = outside.address(url).expect_err(url);
            assert!(fault.contains(told) && !fault.contains("canary"), "{url}: {fault}");
        }
        for url in [
            "http://HOOKS.internal./x",
            "http://10.1.200.3/",
            "https://[fd00::7]/",
            "http://127.0.0.1:8080/",
            "http://[::ffff:127.0.0.1]/",
        ] {
            outside.address(url).expect(url);
        }
        for entry in ["10.0.0.0/33", "a/8", "", "a b", "https://x"] {
            Allowed::read(&[entry.to_owned()]).expect_err(entry);
        }
    }
}
