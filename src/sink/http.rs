//! What all that speaks HTTP has in common.

use std::error::Error as _;
use std::path::Path;
use std::time::Duration;

pub use reqwest::Client;
use reqwest::header::{HeaderName, HeaderValue};

/// The largest file with certificates.
const CERTIFICATES_BYTES_MAX: u64 = 1024 * 1024;

/// An address that may be sent to: `https`, or `http` on this machine.
pub(super) fn address(text: &str) -> Result<String, String> {
    let url = reqwest::Url::parse(text).map_err(|_| "`url` is no address".to_owned())?;
    let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    match url.scheme() {
        "https" => {}
        "http" if local => {}
        _ => return Err("`url` must begin with https://".into()),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("`url` holds a password, which belongs into a file".into());
    }
    Ok(url.into())
}

/// The address of a collector: `https`, or `http` where no header that may be a secret goes in the clear to another
/// machine.
pub fn collector(text: &str, has_headers: bool) -> Result<String, String> {
    let url = reqwest::Url::parse(text).map_err(|_| "the endpoint is no address".to_owned())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the endpoint holds a password, which belongs into a header".into());
    }
    let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    match url.scheme() {
        "https" => Ok(url.into()),
        "http" if local || !has_headers => Ok(url.into()),
        "http" => Err("headers go to another machine by https alone".into()),
        _ => Err("the endpoint must begin with https:// or http://".into()),
    }
}

/// Whether a header can be sent.
pub fn is_header(name: &str, value: &str) -> bool {
    HeaderName::from_bytes(name.as_bytes()).is_ok() && HeaderValue::from_str(value).is_ok()
}

/// A client that follows nobody elsewhere and waits no longer than it is told.
pub fn client(time_max: Duration, ca_file: Option<&Path>) -> Result<Client, String> {
    builder(time_max, ca_file)?.build().map_err(told)
}

/// What makes such a client.
pub(super) fn builder(time_max: Duration, ca_file: Option<&Path>) -> Result<reqwest::ClientBuilder, String> {
    // Made once for the process; that it is there already is no fault.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .user_agent(concat!("argus/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .timeout(time_max)
        .connect_timeout(time_max);
    if let Some(file) = ca_file {
        let pem = certificates(file)?;
        let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| error.to_string())?;
        if certificates.is_empty() {
            return Err(format!("{} holds no certificate", file.display()));
        }
        builder = builder.tls_certs_merge(certificates);
    }
    Ok(builder)
}

/// A file with certificates.
pub(super) fn certificates(file: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| format!("{} cannot be read: {error}", file.display());
    if std::fs::metadata(file).map_err(unreadable)?.len() > CERTIFICATES_BYTES_MAX {
        return Err(format!("{} has more than {CERTIFICATES_BYTES_MAX} bytes", file.display()));
    }
    std::fs::read(file).map_err(unreadable)
}

/// What went wrong, without the address, which may hold a secret.
pub fn told(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    text
}
