//! SSH keys and signatures with them. The only home of ssh-key.

use ssh_key::public::KeyData;
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey, PublicKey, SshSig};

use super::Fault;

/// The longest SSH key with its comment.
pub const KEY_BYTES_MAX: usize = 2_000;

/// The longest file with a private key.
pub const PRIVATE_KEY_BYTES_MAX: usize = 20_000;

/// The fewest bits of an RSA key that still prove something.
pub const RSA_BITS_MIN: usize = 2_048;

/// The most bits of an RSA key that can be verified with.
pub const RSA_BITS_MAX: usize = 4_096;

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(PublicKey);

impl Key {
    /// Reads a key as `ssh-keygen` writes it: sort, base64 and perhaps a comment.
    pub fn read(text: &str) -> Result<Key, String> {
        if text.len() > KEY_BYTES_MAX {
            return Err(format!("an SSH key of {} bytes; {KEY_BYTES_MAX} is the most", text.len()));
        }
        let key =
            PublicKey::from_openssh(text.trim()).map_err(|error| format!("an SSH key cannot be read: {error}"))?;
        Ok(Key(key))
    }

    /// What sort it is: `ssh-ed25519`.
    pub fn sort(&self) -> String {
        self.0.algorithm().to_string()
    }

    /// `SHA256:` and the digest, as everybody writes it.
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint(HashAlg::Sha256).to_string()
    }

    /// Why signatures with it prove nothing, or cannot be verified.
    pub fn weakness(&self) -> Option<String> {
        match self.0.key_data() {
            KeyData::Rsa(rsa) => {
                let bits = rsa.n.as_positive_bytes().map_or(0, bits);
                let fits = (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits);
                let bounds = format!("{RSA_BITS_MIN} to {RSA_BITS_MAX} are taken");
                (!fits).then(|| format!("an RSA key of {bits} bits; {bounds}"))
            }
            KeyData::Ecdsa(_) | KeyData::Ed25519(_) | KeyData::SkEcdsaSha2NistP256(_) | KeyData::SkEd25519(_) => None,
            _ => Some(format!("a key of the sort `{}`", self.sort())),
        }
    }
}

/// A private key.
pub struct SigningKey(PrivateKey);

impl SigningKey {
    /// Reads a key as `ssh-keygen -t ed25519 -N ''` writes it.
    pub fn read(text: &str) -> Result<SigningKey, String> {
        if text.len() > PRIVATE_KEY_BYTES_MAX {
            return Err(format!("{} bytes; {PRIVATE_KEY_BYTES_MAX} is the most", text.len()));
        }
        let key =
            PrivateKey::from_openssh(text.trim()).map_err(|error| format!("it is no private SSH key: {error}"))?;
        if key.is_encrypted() {
            return Err("it has a passphrase, and nobody is here who could be asked".into());
        }
        match key.algorithm() {
            Algorithm::Ed25519 => Ok(SigningKey(key)),
            other => Err(format!("it is of the sort `{other}`, and ssh-ed25519 is taken")),
        }
    }

    /// `SHA256:` and the digest, as everybody writes it.
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint(HashAlg::Sha256).to_string()
    }

    /// Signs a text for a use, as `ssh-keygen -Y sign` does.
    pub fn sign(&self, namespace: &str, text: &[u8]) -> Result<String, String> {
        let signature = self.0.sign(namespace, HashAlg::Sha512, text).map_err(|error| error.to_string())?;
        signature.to_pem(LineEnding::LF).map_err(|error| error.to_string())
    }
}

/// How many bits a number has.
fn bits(bytes: &[u8]) -> usize {
    let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    bytes.first().map_or(0, |first| bytes.len() * 8 - first.leading_zeros() as usize)
}

/// A signature of OpenSSH's form, which names its key and what it is for.
#[derive(Clone, Debug)]
pub struct Signature {
    signature: SshSig,
    key: Key,
}

impl Signature {
    /// Reads an armored signature.
    pub fn read(text: &str) -> Result<Signature, Fault> {
        let signature = SshSig::from_pem(text).map_err(|error| match error {
            _ if names_certificate(text) => Fault::Unsupported("an SSH certificate".into()),
            ssh_key::Error::AlgorithmUnknown | ssh_key::Error::AlgorithmUnsupported { .. } => {
                Fault::Unsupported("an SSH key of an unknown sort".into())
            }
            error => Fault::Garbled(error.to_string()),
        })?;
        if signature.version() != SshSig::VERSION {
            return Err(Fault::Garbled(format!("it is of version {}", signature.version())));
        }
        // Lengths within may be wrong all the same, and a signature has one form alone. (The crate does not write back
        // the form of signatures by security keys on P-256.)
        let bare = |text: &str| text.split_ascii_whitespace().collect::<String>();
        let written = signature.to_pem(LineEnding::LF).map(|written| bare(&written));
        let exempt = signature.algorithm() == Algorithm::SkEcdsaSha2NistP256;
        if !exempt && written.as_deref() != Ok(&bare(text)) {
            return Err(Fault::Garbled("it is not in the form that ssh-keygen writes".into()));
        }
        let key = Key(PublicKey::from(signature.public_key().clone()));
        if let Algorithm::Other(name) = key.0.algorithm() {
            return Err(Fault::Unsupported(format!("an SSH key of the sort `{}`", name.as_str().escape_default())));
        }
        Ok(Signature { signature, key })
    }

    /// What it was made for.
    pub fn namespace(&self) -> &str {
        self.signature.namespace()
    }

    /// The key that it claims to be made with.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Whether this key made it, for this text and for that use.
    pub fn is_by(&self, key: &Key, namespace: &str, text: &[u8]) -> bool {
        key.0.verify(namespace, text, &self.signature).is_ok()
    }
}

/// Whether a signature that could not be read is by a certificate, which its first bytes name.
fn names_certificate(text: &str) -> bool {
    const HEAD_CHARS: usize = 120;
    const NAME: &[u8] = b"-cert-v01@openssh.com";
    let body = text.lines().filter(|line| !line.starts_with('-')).flat_map(str::bytes).take(HEAD_CHARS);
    let sixes = body.map_while(|b| match b {
        b'A'..=b'Z' => Some(b - b'A'),
        b'a'..=b'z' => Some(b - b'a' + 26),
        b'0'..=b'9' => Some(b - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    });
    let sixes: Vec<u8> = sixes.collect();
    let eights: Vec<u8> = sixes
        .chunks_exact(4)
        .flat_map(|four| [four[0] << 2 | four[1] >> 4, four[1] << 4 | four[2] >> 2, four[2] << 6 | four[3]])
        .collect();
    eights.windows(NAME.len()).any(|window| window == NAME)
}
