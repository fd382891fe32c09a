//! What sinks that speak HTTP have in common. The only home of reqwest, with those sinks.

use std::error::Error as _;
use std::path::Path;
use std::time::Duration;

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

/// A client that follows nobody elsewhere and waits no longer than it is told.
pub(super) fn client(time_max: Duration, ca_file: Option<&Path>) -> Result<reqwest::Client, String> {
    builder(time_max, ca_file)?.build().map_err(told)
}

/// What makes such a client.
pub(super) fn builder(time_max: Duration, ca_file: Option<&Path>) -> Result<reqwest::ClientBuilder, String> {
    // Made once for the process; that it is there already is no fault.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
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
pub(super) fn told(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    text
}
