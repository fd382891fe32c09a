//! What the machine says of admission: where the API server asks before it stores an object, by which certificate it
//! knows whom it asks, and what it is told where nobody can tell.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::settings::namespace_fault;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::time::parse_duration;

/// How long an answer may take when nobody says so: well below the ten seconds that an API server waits.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The bounds of that: an API server waits for thirty seconds at most.
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
const TIMEOUT_MAX: Duration = Duration::from_secs(29);

/// What the Secret of self-made certificates is called when nobody says so.
const SECRET: &str = "argus-admission";

/// The section `admission` of the settings of a cluster.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdmissionSettings {
    /// The address that API servers ask.
    pub listen: SocketAddr,
    /// The files of a certificate that somebody else makes and renews.
    #[serde(default)]
    pub certificate: Option<CertificateFiles>,
    /// Whom a certificate is for that Argus makes and renews itself.
    #[serde(default)]
    pub self_signed: Option<SelfSigned>,
    /// The ValidatingWebhookConfiguration that is told which authority signs self-made certificates.
    #[serde(default)]
    pub webhook_name: Option<String>,
    /// How long an answer may take.
    #[serde(default = "timeout", deserialize_with = "length")]
    pub timeout: Duration,
    /// What is answered where nobody can tell.
    #[serde(default)]
    pub on_failure: OnFailure,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateFiles {
    /// The certificate and those that lead to its authority, in PEM.
    pub cert_file: PathBuf,
    /// The key, in PEM.
    pub key_file: PathBuf,
}

/// Whom a self-made certificate is for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SelfSigned {
    /// The Service through which API servers reach this.
    pub service_name: String,
    /// The namespace of Service and Secret.
    pub namespace: String,
    /// The Secret through which replicas share it.
    #[serde(default = "secret")]
    pub secret_name: String,
}

/// What is answered where nobody can tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// The object is let through, with a warning that nobody has looked: it is judged again before it is applied.
    #[default]
    Ignore,
    /// The object is refused.
    Fail,
}

fn timeout() -> Duration {
    TIMEOUT
}

fn secret() -> String {
    SECRET.into()
}

fn length<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = || serde::de::Error::custom("a length of time is written `5s` or `500ms`");
    match text.strip_suffix("ms").map(|number| number.parse().map(Duration::from_millis)) {
        Some(milliseconds) => milliseconds.map_err(|_| wrong()),
        None => parse_duration(&text).ok().and_then(|length| length.to_std().ok()).ok_or_else(wrong),
    }
}

impl SelfSigned {
    /// The names by which API servers, and whoever tries it by hand, call the Service.
    pub fn names(&self) -> Vec<String> {
        let SelfSigned { service_name, namespace, secret_name: _ } = self;
        let full = format!("{service_name}.{namespace}.svc");
        vec![full.clone(), format!("{full}.cluster.local"), format!("{service_name}.{namespace}")]
    }
}

impl AdmissionSettings {
    /// The same, with the files that it names looked for beside the file that it stands in.
    pub fn beside(mut self, folder: &Path) -> AdmissionSettings {
        if let Some(CertificateFiles { cert_file, key_file }) = &mut self.certificate {
            *cert_file = folder.join(&*cert_file);
            *key_file = folder.join(&*key_file);
        }
        self
    }

    /// Says what cannot be right.
    pub fn check(&self) -> Result<(), Box<Finding>> {
        let bad = |message: String, hint: &str| {
            Err(Box::new(Finding::error(Code::BadSettings, message).hint(hint.to_owned())))
        };
        match (&self.certificate, &self.self_signed) {
            (None, None) => {
                let message = "`kubernetes.admission` has no certificate, and API servers ask over TLS alone";
                return bad(message.into(), "name its files in `certificate`, or have one made with `selfSigned`");
            }
            (Some(_), Some(_)) => {
                let message = "`kubernetes.admission` has both `certificate` and `selfSigned`";
                return bad(message.into(), "keep one of the two");
            }
            (Some(_), None) if self.webhook_name.is_some() => {
                let message = "`kubernetes.admission.webhookName` belongs to `selfSigned`";
                let hint = "leave it out: whoever makes the certificate tells the API server which authority signs it";
                return bad(message.into(), hint);
            }
            (None, Some(_)) if self.webhook_name.is_none() => {
                let message = "`kubernetes.admission.selfSigned` needs a `webhookName`";
                let hint = "name the ValidatingWebhookConfiguration that is to be told which authority signs";
                return bad(message.into(), hint);
            }
            _ => {}
        }
        if !(TIMEOUT_MIN..=TIMEOUT_MAX).contains(&self.timeout) {
            let message = format!("`kubernetes.admission.timeout` is {:?}", self.timeout);
            return bad(message, "it is between 100ms and 29s, and below `timeoutSeconds` of the webhook");
        }
        if let Some(SelfSigned { service_name, namespace, secret_name }) = &self.self_signed {
            let names = [("serviceName", service_name), ("namespace", namespace), ("secretName", secret_name)];
            for (key, name) in names {
                if let Some(fault) = namespace_fault(name) {
                    let message = format!("`kubernetes.admission.selfSigned.{key}` is no name: {fault}");
                    return bad(message, "give the name as `kubectl get` shows it");
                }
            }
        }
        let odd = |c: char| !matches!(c, 'a'..='z' | '0'..='9' | '-' | '.');
        if self.webhook_name.as_ref().is_some_and(|name| name.is_empty() || name.len() > 253 || name.contains(odd)) {
            let message = "`kubernetes.admission.webhookName` is no name of an object".to_owned();
            return bad(message, "give the name as `kubectl get validatingwebhookconfigurations` shows it");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<AdmissionSettings, String> {
        let settings: AdmissionSettings = serde_json::from_str(text).map_err(|error| error.to_string())?;
        settings.check().map_err(|finding| finding.message)?;
        Ok(settings)
    }

    #[test]
    fn a_certificate_comes_from_files_or_is_self_made() {
        let files = read(r#"{"listen": "0.0.0.0:9443", "certificate": {"certFile": "a.pem", "keyFile": "/b.key"}}"#);
        let files = files.expect("these settings are right").beside(Path::new("/etc/argus"));
        let certificate = files.certificate.expect("files");
        assert_eq!(certificate.cert_file, Path::new("/etc/argus/a.pem"));
        assert_eq!(certificate.key_file, Path::new("/b.key"));
        assert_eq!((files.timeout, files.on_failure), (Duration::from_secs(5), OnFailure::Ignore));
        let own = read(
            r#"{"listen": "[::]:9443", "selfSigned": {"serviceName": "argus", "namespace": "tools"},
                "webhookName": "argus", "timeout": "800ms", "onFailure": "fail"}"#,
        )
        .expect("these settings are right");
        assert_eq!((own.timeout, own.on_failure), (Duration::from_millis(800), OnFailure::Fail));
        let own = own.self_signed.expect("self-made");
        assert_eq!(own.secret_name, "argus-admission");
        assert_eq!(own.names(), ["argus.tools.svc", "argus.tools.svc.cluster.local", "argus.tools"]);
    }

    #[test]
    fn settings_that_cannot_be_are_refused_with_what_is_wrong() {
        let files = r#""certificate": {"certFile": "a", "keyFile": "b"}"#;
        let own = r#""selfSigned": {"serviceName": "argus", "namespace": "tools"}"#;
        for (more, why) in [
            (String::new(), "has no certificate"),
            (format!(r#", {files}, {own}"#), "has both"),
            (format!(r#", {files}, "webhookName": "argus""#), "belongs to `selfSigned`"),
            (format!(", {own}"), "needs a `webhookName`"),
            (format!(r#", {own}, "webhookName": "../argus""#), "no name of an object"),
            (format!(r#", {files}, "timeout": "30s""#), "timeout` is"),
            (format!(r#", {files}, "timeout": "5""#), "a length of time"),
            (format!(r#", {files}, "onFailure": "open""#), "unknown variant"),
            (format!(r#", {files}, "port": 1"#), "unknown field"),
            (r#", "selfSigned": {"serviceName": "a/b", "namespace": "x"}, "webhookName": "a""#.into(), "is no name"),
        ] {
            let text = format!(r#"{{"listen": "0.0.0.0:9443"{more}}}"#);
            let found = read(&text).expect_err(&text);
            assert!(found.contains(why), "{text}: {found}");
        }
    }
}
