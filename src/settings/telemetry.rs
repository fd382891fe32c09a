//! The section `telemetry` of the settings of the machine: how logs look, and where traces go.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::cli::LogFormat;
use crate::model::time::parse_duration;

/// The longest that one request to a collector may take.
const TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// The section.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TelemetrySettings {
    /// How a line of the log looks.
    pub logs: Option<LogFormat>,
    /// Where traces go.
    pub otlp: Option<OtlpSettings>,
    /// How many of the traces that begin here are recorded: all (1) if nobody says so.
    #[serde(deserialize_with = "share")]
    pub sample: Option<f64>,
}

/// A collector of OpenTelemetry.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OtlpSettings {
    /// Its address, to which `/v1/traces` is added.
    pub endpoint: String,
    /// A file with headers for every request, a line `name: value` each.
    #[serde(default)]
    pub headers_file: Option<PathBuf>,
    /// Whom to trust, in PEM, beside those that everybody trusts.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// How long one request may take.
    #[serde(default, deserialize_with = "timeout")]
    pub timeout: Option<Duration>,
}

fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let share = f64::deserialize(deserializer)?;
    let fits = (0.0..=1.0).contains(&share);
    fits.then_some(Some(share)).ok_or_else(|| serde::de::Error::custom("`sample` is a number from 0 to 1"))
}

fn timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let time = parse_duration(&text).ok().and_then(|time| time.to_std().ok());
    let time = time.filter(|time| !time.is_zero() && *time <= TIMEOUT_MAX);
    time.map(Some).ok_or_else(|| serde::de::Error::custom("a `timeout` is written `5s`, and at most `60s`"))
}
