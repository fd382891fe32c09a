//! The binary that the action runs.

use super::super::super::{ACME, ARGUS};
use super::super::{Forge, has_tools};

#[test]
fn the_binary_is_fetched_and_run_if_it_has_the_digest() {
    if !has_tools() {
        return;
    }
    let forge = Forge::on_github(ACME);
    let validate = &[("command", "validate")];
    let (address, elsewhere) = (format!("file://{ARGUS}"), format!("file://{}/none", forge.kept.display()));
    let printed = std::process::Command::new("sha256sum").arg(ARGUS).output().expect("sha256sum runs").stdout;
    let digest = String::from_utf8_lossy(&printed[..64]).into_owned();
    let with = |address: &str, digest: &str| {
        let environment = [("ARGUS_BINARY_URL", address), ("ARGUS_BINARY_SHA256", digest)];
        forge.action(validate, &environment)
    };
    // None but this one is run, whatever is on the PATH.
    std::fs::remove_file(forge.kept.join("bin/argus")).expect("it was there");
    forge.action(validate, &[]).ends(1).says("::error::there is no argus on this runner");
    with(&address, &digest).ends(0).says("1 test, 1 passed");
    let other = "0".repeat(64);
    with(&address, &other).ends(1).says("::error::what ARGUS_BINARY_URL names has another digest");
    assert!(!forge.kept.join(format!("argus-{other}")).exists());
    for no_digest in ["", "0123abc", &format!("../{}", &other[3..])] {
        with(&address, no_digest).ends(1).says("::error::ARGUS_BINARY_SHA256 is no SHA-256 digest");
    }
    assert_ne!(with(&elsewhere, &digest).code, Some(0));
    assert_ne!(with(&address.replace("file", "http"), &digest).code, Some(0));
}
