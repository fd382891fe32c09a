//! Certificates that nobody else makes: an authority of its own, and a certificate that it signs. What there is and the
//! moment come in, what there is from then on goes out.
//!
//! Whoever has to know the authority is told of it by somebody else, a little later. So a new authority is only announced
//! at first, and signs once everybody knows it; the one before stays known until its time is over.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use serde::{Deserialize, Serialize};

/// How far clocks may be apart.
const SKEW: Duration = Duration::from_secs(300);

const DAY: u64 = 86_400;

/// How long certificates count.
#[derive(Clone, Copy, Debug)]
pub struct Lives {
    /// The one that is shown.
    pub certificate: Duration,
    /// An authority.
    pub authority: Duration,
    /// How long an authority is announced before it signs.
    pub announced: Duration,
}

impl Default for Lives {
    fn default() -> Self {
        Lives {
            certificate: Duration::from_secs(90 * DAY),
            authority: Duration::from_secs(3 * 365 * DAY),
            announced: Duration::from_secs(DAY),
        }
    }
}

/// A certificate with its key. It cannot be printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Certified {
    /// What it is called; of the one that is shown, what signs it is called.
    authority: String,
    /// By which names it goes.
    #[serde(default)]
    names: Vec<String>,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
    certificate: String,
    key: String,
}

/// All that is kept. It cannot be printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Keeping {
    /// The authorities that count, the newest last.
    authorities: Vec<Certified>,
    shown: Option<Certified>,
}

impl Certified {
    /// Whether less than a third of its time is left.
    fn is_due(&self, now: DateTime<Utc>) -> bool {
        now >= self.until - (self.until - self.since) / 3
    }
}

impl Keeping {
    /// What there is from now on, where that is something else than what there was.
    pub fn renewed(
        before: Option<&Keeping>,
        names: &[String],
        lives: &Lives,
        now: DateTime<Utc>,
    ) -> Result<Option<Keeping>, String> {
        let mut keeping = before.cloned().unwrap_or(Keeping { authorities: Vec::new(), shown: None });
        keeping.authorities.retain(|authority| authority.until > now);
        if keeping.authorities.last().is_none_or(|newest| newest.is_due(now)) {
            keeping.authorities.push(authority(lives, now)?);
        }
        let is_known = |authority: &&Certified| authority.since + lives.announced <= now;
        // Where there is no older one, nobody could have been told of anything yet.
        let known = keeping.authorities.iter().rev().find(is_known).or(keeping.authorities.first());
        if let Some(signer) = known
            && keeping
                .shown
                .as_ref()
                .is_none_or(|shown| shown.authority != signer.authority || shown.names != names || shown.is_due(now))
        {
            keeping.shown = Some(signed(signer, names, lives, now)?);
        }
        Ok((before != Some(&keeping)).then_some(keeping))
    }

    /// The certificates of the authorities that count, the newest first.
    pub fn bundle(&self) -> String {
        self.authorities.iter().rev().map(|authority| authority.certificate.as_str()).collect()
    }

    /// The certificate that is shown, and its key.
    pub fn shown(&self) -> Option<(&str, &str)> {
        self.shown.as_ref().map(|shown| (shown.certificate.as_str(), shown.key.as_str()))
    }

    /// Until when the certificate counts that is shown.
    pub fn until(&self) -> Option<DateTime<Utc>> {
        self.shown.as_ref().map(|shown| shown.until)
    }
}

fn params(names: &[String], (since, until): (DateTime<Utc>, DateTime<Utc>)) -> Result<CertificateParams, String> {
    let mut params = CertificateParams::new(names.to_vec()).map_err(|error| error.to_string())?;
    let moment = |at: DateTime<Utc>| {
        date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(at.timestamp()).unwrap_or_default())
    };
    (params.not_before, params.not_after) = (moment(since - SKEW), moment(until));
    Ok(params)
}

/// What an authority is, but for its key.
fn authority_params(name: &str, times: (DateTime<Utc>, DateTime<Utc>)) -> Result<CertificateParams, String> {
    let mut params = params(&[], times)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

fn authority(lives: &Lives, now: DateTime<Utc>) -> Result<Certified, String> {
    let name = format!("Argus admission {}", now.format("%Y-%m-%dT%H:%M:%S%.3fZ"));
    let (since, until) = (now, now + lives.authority);
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| error.to_string())?;
    let certificate = authority_params(&name, (since, until))?.self_signed(&key).map_err(|error| error.to_string())?;
    let (certificate, key) = (certificate.pem(), key.serialize_pem());
    Ok(Certified { authority: name, names: Vec::new(), since, until, certificate, key })
}

fn signed(by: &Certified, names: &[String], lives: &Lives, now: DateTime<Utc>) -> Result<Certified, String> {
    let wrong = |error: rcgen::Error| error.to_string();
    let (since, until) = (now, (now + lives.certificate).min(by.until));
    let issuer = authority_params(&by.authority, (by.since, by.until))?;
    let issuer = Issuer::new(issuer, KeyPair::from_pem(&by.key).map_err(wrong)?);
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(wrong)?;
    let mut params = params(names, (since, until))?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params.distinguished_name.push(DnType::CommonName, "argus");
    let certificate = params.signed_by(&key, &issuer).map_err(wrong)?.pem();
    let (authority, names, key) = (by.authority.clone(), names.to_vec(), key.serialize_pem());
    Ok(Certified { authority, names, since, until, certificate, key })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap_or_default()
    }

    fn lives() -> Lives {
        let seconds = Duration::from_secs;
        Lives { certificate: seconds(90), authority: seconds(900), announced: seconds(10) }
    }

    fn renewed(before: Option<&Keeping>, seconds: i64) -> Option<Keeping> {
        let names = ["argus.tools.svc".to_owned()];
        Keeping::renewed(before, &names, &lives(), at(seconds)).expect("certificates")
    }

    #[test]
    fn a_certificate_is_renewed_with_a_third_of_its_time_left_and_the_authority_stays() {
        let first = renewed(None, 0).expect("there was none");
        assert_eq!(first.until(), Some(at(90)));
        assert!(renewed(Some(&first), 59).is_none());
        let second = renewed(Some(&first), 60).expect("it is due");
        assert_eq!(second.until(), Some(at(150)));
        assert_eq!(second.bundle(), first.bundle());
        assert!(first.shown() != second.shown());
        let names = ["other.tools.svc".to_owned()];
        let other = Keeping::renewed(Some(&second), &names, &lives(), at(61)).expect("certificates");
        assert!(other.expect("it is for another name").shown() != second.shown());
    }

    #[test]
    fn a_new_authority_is_announced_before_it_signs_and_the_old_one_stays_known_until_its_end() {
        let first = renewed(None, 0).expect("there was none");
        let old = first.bundle();
        let shown = renewed(Some(&first), 599).expect("the certificate is due");
        let announced = renewed(Some(&shown), 600).expect("the authority is due");
        assert!(announced.bundle().ends_with(&old) && announced.bundle().len() > old.len());
        assert!(announced.shown() == shown.shown(), "nobody may know the new one yet");
        let new = renewed(Some(&announced), 610).expect("it is announced long enough");
        assert!(new.shown() != shown.shown());
        assert_eq!(new.bundle(), announced.bundle());
        let end = renewed(Some(&new), 900).expect("the old one ends");
        assert!(!end.bundle().contains(&old) && new.bundle().starts_with(&end.bundle()));
    }
}
