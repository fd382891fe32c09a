//! SSH keys and signatures, made by the real `ssh-keygen`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::postgres::scratch;

/// A key pair in a folder of its own.
pub struct Key {
    folder: PathBuf,
    /// The public half, as `ssh-keygen` wrote it.
    pub public: String,
}

impl Key {
    /// A new key of a type (`ed25519`, `ecdsa`, `rsa`).
    pub fn new(kind: &str) -> Key {
        Key::with(kind, None)
    }

    /// The same with so many bits.
    pub fn with(kind: &str, bits: Option<&str>) -> Key {
        let folder = scratch("key");
        std::fs::create_dir_all(&folder).expect("a folder");
        keygen(
            Command::new("ssh-keygen")
                .args(["-q", "-t", kind, "-N", "", "-C", "of a test"])
                .args(bits.iter().flat_map(|bits| ["-b", bits]))
                .arg("-f")
                .arg(folder.join("key")),
        );
        let public = std::fs::read_to_string(folder.join("key.pub")).expect("the public half");
        Key { folder, public: public.trim_end().to_owned() }
    }

    /// Puts a passphrase on it, in the form that OpenSSH (`OPENSSH`) or others (`PEM`, `PKCS8`) write.
    pub fn lock(&self, passphrase: &str, form: &str) {
        let options: &[&str] = if form == "OPENSSH" { &[] } else { &["-m", form] };
        keygen(
            Command::new("ssh-keygen")
                .args(["-q", "-p", "-P", "", "-N", passphrase])
                .args(options)
                .arg("-f")
                .arg(self.path()),
        );
    }

    /// Where the private half stands.
    pub fn path(&self) -> PathBuf {
        self.folder.join("key")
    }

    /// Signs a file as a person would, and gives the signature, which also stands beside it.
    pub fn sign(&self, file: &Path, namespace: &str, options: &[&str]) -> String {
        let signature = PathBuf::from(format!("{}.sig", file.display()));
        let _ = std::fs::remove_file(&signature);
        keygen(
            Command::new("ssh-keygen")
                .args(["-Y", "sign", "-q", "-n", namespace])
                .args(options)
                .arg("-f")
                .arg(self.path())
                .arg(file),
        );
        std::fs::read_to_string(signature).expect("a signature")
    }

    /// Signs a text.
    pub fn sign_text(&self, text: &str, namespace: &str, options: &[&str]) -> String {
        let file = self.folder.join("text");
        std::fs::write(&file, text).expect("a file");
        self.sign(&file, namespace, options)
    }
}

fn keygen(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("ssh-keygen runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Drop for Key {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
