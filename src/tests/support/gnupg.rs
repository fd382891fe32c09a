//! OpenPGP keys and signatures, made by the real `gpg` in a home of their own.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use super::git::{run_with, written};
use super::postgres::scratch;

/// A folder of keys.
pub struct Gnupg {
    /// The folder.
    pub home: PathBuf,
}

impl Gnupg {
    /// A folder without keys.
    pub fn new() -> Gnupg {
        let home = scratch("gpg");
        std::fs::create_dir_all(&home).expect("a folder");
        std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o700)).expect("it is ours alone");
        Gnupg { home }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("gpg");
        command.env("GNUPGHOME", &self.home).env("LC_ALL", "C").stdin(Stdio::null());
        // With commands for a menu, `gpg` may not be told that nobody is there.
        if !arguments.contains(&"--command-fd") {
            command.arg("--batch");
        }
        command.args(["--yes", "--quiet", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", ""]);
        command.args(arguments);
        command
    }

    /// What `gpg` says; it must go well.
    pub fn gpg(&self, arguments: &[&str]) -> String {
        written(&self.command(arguments).output().expect("gpg runs"))
    }

    /// A new key that signs, and its fingerprint. `lasts` is `0` for ever.
    pub fn key(&self, name: &str, sort: &str, lasts: &str, options: &[&str]) -> String {
        let arguments = [options, &["--quick-generate-key", name, sort, "sign,cert", lasts]].concat();
        self.gpg(&arguments);
        self.fingerprints(name).remove(0)
    }

    /// The fingerprints of a certificate: the primary key, and its subkeys.
    pub fn fingerprints(&self, name: &str) -> Vec<String> {
        let listed = self.gpg(&["--list-keys", "--with-colons", "--with-subkey-fingerprint", name]);
        let lines = listed.lines().filter_map(|line| line.strip_prefix("fpr:"));
        lines.map(|line| line.trim_matches(':').to_owned()).collect()
    }

    /// What `gpg` does with commands for the key's menu.
    pub fn edit(&self, key: &str, commands: &str) {
        let mut command = self.command(&["--command-fd", "0", "--expert", "--edit-key", key]);
        command.stdout(Stdio::null());
        let output = run_with(command, commands.as_bytes());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Revokes a whole key with the certificate that `gpg` made for the purpose.
    pub fn revoke(&self, fingerprint: &str) {
        let path = self.home.join(format!("openpgp-revocs.d/{fingerprint}.rev"));
        let text = std::fs::read_to_string(path).expect("gpg made one");
        // A colon before the armor keeps it from being used by mistake.
        let output = run_with(self.command(&["--import"]), text.replace(":-----BEGIN", "-----BEGIN").as_bytes());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// A revocation of somebody else's key, who let the holder of one of these keys do that.
    pub fn revoke_for(&self, key: &str) -> String {
        let command = self.command(&["--command-fd", "0", "--armor", "--desig-revoke", key]);
        written(&run_with(command, b"y\n0\n\ny\n"))
    }

    /// The certificates, armored.
    pub fn export(&self, names: &[&str]) -> String {
        self.gpg(&[&["--export", "--armor"], names].concat())
    }

    /// A detached signature, as Git asks for it.
    pub fn sign(&self, key: &str, payload: &[u8], options: &[&str]) -> String {
        written(&self.try_sign(key, payload, options))
    }

    /// The same, where it may go wrong.
    pub fn try_sign(&self, key: &str, payload: &[u8], options: &[&str]) -> Output {
        run_with(self.command(&[options, &["-bsa", "-u", key]].concat()), payload)
    }
}

impl Drop for Gnupg {
    fn drop(&mut self) {
        // The agent of this home alone.
        let _ = Command::new("gpgconf").arg("--homedir").arg(&self.home).args(["--kill", "all"]).output();
        let _ = std::fs::remove_dir_all(&self.home);
    }
}
