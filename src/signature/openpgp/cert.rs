//! OpenPGP certificates: what their own signatures say of their keys, as far as it can be verified.

use std::io::Write as _;

use pgp::armor::BlockType;
use pgp::packet::{
    Packet, PacketParser, PacketTrait as _, PublicKey, PublicSubkey, Signature, SignatureType, SubpacketData, UserId,
};
use pgp::ser::Serialize as _;
use pgp::types::{EcdsaPublicParams, Fingerprint, KeyDetails, KeyId, KeyVersion, PublicParams, Tag};

use super::{dearmor, hex, names, not_understood, unreadable, weakness};
use crate::model::finding::Finding;
use crate::signature::{FILE_BYTES_MAX, bad, ssh};

/// The most certificates in a file.
const CERTS_MAX: usize = 2_000;

/// The most packets in a certificate.
const PACKETS_MAX: usize = 20_000;

/// The most signatures of its own that a certificate is judged by; each costs an asymmetric operation.
const OWN_SIGNATURES_MAX: usize = 500;

/// The longest name of a signer.
const NAME_CHARS_MAX: usize = 200;

const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";

/// A certificate: keys of one person.
#[derive(Clone, Debug)]
pub struct Cert {
    /// Their user id.
    pub name: String,
    /// Whether it counts no more, with all its keys.
    pub revoked: bool,
    /// When its primary key expires, and with it all others.
    pub expires: Option<i64>,
    /// The primary key and its subkeys.
    pub parts: Vec<Part>,
}

/// One key of a certificate.
#[derive(Clone, Debug)]
pub struct Part {
    key: Material,
    /// What it is known by.
    pub fingerprint: Fingerprint,
    /// The same in short.
    pub id: KeyId,
    /// When it was made.
    pub created: i64,
    /// When it expires.
    pub expires: Option<i64>,
    /// Whether it may sign.
    pub standing: Standing,
}

/// Whether a key may sign.
#[derive(Clone, Debug)]
pub enum Standing {
    /// It may.
    Good,
    /// It was revoked.
    Revoked,
    /// It proves nothing, or what binds it to its certificate does not.
    Weak(String),
    /// Nothing says that it signs.
    NotForSigning(&'static str),
}

#[derive(Clone, Debug)]
enum Material {
    Primary(PublicKey),
    Sub(PublicSubkey),
}

impl Part {
    /// Whether this key made the signature over this text.
    pub fn verifies(&self, signature: &Signature, text: &[u8]) -> bool {
        match &self.key {
            Material::Primary(key) => signature.verify(key, text).is_ok(),
            Material::Sub(key) => signature.verify(key, text).is_ok(),
        }
    }
}

/// Whether these bytes are meant to be OpenPGP.
pub fn looks_like(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| first & 0x80 != 0)
        || str::from_utf8(bytes).is_ok_and(|text| text.contains("-----BEGIN PGP "))
}

/// Reads certificates, armored (one block or several) or not.
pub fn read(file: &str, bytes: &[u8]) -> Result<Vec<Cert>, Vec<Finding>> {
    let hint = "export the certificates anew: gpg --export --armor --export-options export-minimal KEY...";
    let wrong = |line: usize, message: String| vec![bad(file, line, message).hint(hint)];
    let mut certs = Vec::new();
    if bytes.first().is_some_and(|first| first & 0x80 != 0) {
        certs = packets(bytes).map_err(|message| wrong(0, message))?;
    } else {
        let text = str::from_utf8(bytes).map_err(|_| wrong(0, "this is no OpenPGP".into()))?;
        let mut from = 0;
        while let Some(begin) = text[from..].find(BEGIN).map(|at| from + at) {
            let line = text[..begin].matches('\n').count() + 1;
            let end = text[begin..].find(END).map(|at| begin + at + END.len());
            let end = end.ok_or_else(|| wrong(line, "this block has no end".into()))?;
            let bytes = dearmor(&text[begin..end], BlockType::PublicKey, FILE_BYTES_MAX);
            certs.extend(bytes.and_then(|bytes| packets(&bytes)).map_err(|message| wrong(line, message))?);
            from = end;
        }
    }
    match certs.len() {
        0 => Err(wrong(0, "this holds no OpenPGP certificate".into())),
        1..=CERTS_MAX => Ok(certs),
        more => Err(wrong(0, format!("{more} certificates; {CERTS_MAX} is the most"))),
    }
}

/// The packets of one certificate, each signature with what it stands behind.
struct Packets {
    primary: PublicKey,
    direct: Vec<Signature>,
    users: Vec<(UserId, Vec<Signature>)>,
    subkeys: Vec<(PublicSubkey, Vec<Signature>)>,
    at: Behind,
    count: usize,
}

/// What the next signature stands behind.
enum Behind {
    Primary,
    User,
    Subkey,
    /// A picture; nobody is known by that.
    Attribute,
}

/// Reads what is not armored. A packet that cannot be read might be the revocation, so it is no certificate without it.
fn packets(bytes: &[u8]) -> Result<Vec<Cert>, String> {
    let mut certs: Vec<Cert> = Vec::new();
    let mut open: Option<Packets> = None;
    let mut rest = bytes;
    while !rest.is_empty() {
        // One at a time: the parser takes a head that is cut off for the end.
        let mut parser = PacketParser::new(rest);
        let packet = parser.next().ok_or("the last packet is cut off")?;
        let packet = packet.map_err(|error| unreadable(&error))?;
        rest = parser.into_inner();
        if let Packet::PublicKey(primary) = packet {
            if !matches!(primary.version(), KeyVersion::V4 | KeyVersion::V6) {
                return Err(format!("an OpenPGP key of version {:?}; 4 and 6 are taken", primary.version()));
            }
            certs.extend(open.take().map(Packets::judge).transpose()?);
            let (direct, users, subkeys) = (Vec::new(), Vec::new(), Vec::new());
            open = Some(Packets { primary, direct, users, subkeys, at: Behind::Primary, count: 0 });
            continue;
        }
        let open = open.as_mut().ok_or("the first packet is no public key")?;
        open.count += 1;
        if open.count > PACKETS_MAX {
            return Err(format!("a certificate has more than {PACKETS_MAX} packets"));
        }
        match packet {
            Packet::UserId(id) => {
                open.users.push((id, Vec::new()));
                open.at = Behind::User;
            }
            Packet::UserAttribute(_) => open.at = Behind::Attribute,
            Packet::PublicSubkey(key) => {
                open.subkeys.push((key, Vec::new()));
                open.at = Behind::Subkey;
            }
            Packet::Signature(signature) if signature.config().is_none() => {
                return Err(format!("a signature of an unknown version, {:?}", signature.version()));
            }
            Packet::Signature(signature) => open.push(signature),
            Packet::Trust(_) | Packet::Marker(_) | Packet::Padding(_) => {}
            Packet::SecretKey(_) | Packet::SecretSubkey(_) => {
                return Err("this holds secret keys, which belong to whoever signs".into());
            }
            other => return Err(format!("a packet {:?} does not belong into a certificate", other.tag())),
        }
    }
    certs.extend(open.map(Packets::judge).transpose()?);
    Ok(certs)
}

impl Packets {
    fn push(&mut self, signature: Signature) {
        // A revocation of the certificate counts wherever it stands.
        let everywhere = matches!(signature.typ(), Some(SignatureType::KeyRevocation | SignatureType::Key));
        let behind = match self.at {
            _ if everywhere => Some(&mut self.direct),
            Behind::Primary => Some(&mut self.direct),
            Behind::User => self.users.last_mut().map(|(_, signatures)| signatures),
            Behind::Subkey => self.subkeys.last_mut().map(|(_, signatures)| signatures),
            Behind::Attribute => None,
        };
        if let Some(behind) = behind {
            behind.push(signature);
        }
    }

    /// What the certificate says of itself.
    fn judge(self) -> Result<Cert, String> {
        let Packets { primary, direct, users, subkeys, at: _, count: _ } = self;
        let (fingerprint, id) = (primary.fingerprint(), primary.legacy_key_id());
        let all = direct.iter().chain(users.iter().flat_map(|(_, all)| all));
        let own =
            all.chain(subkeys.iter().flat_map(|(_, all)| all)).filter(|one| names(one, &fingerprint, &id)).count();
        if own > OWN_SIGNATURES_MAX {
            return Err(format!("a certificate with more than {OWN_SIGNATURES_MAX} signatures of its own"));
        }
        let own_direct: Vec<&Signature> = of(&direct, &[SignatureType::Key])
            .filter(|one| names(one, &fingerprint, &id) && one.verify_key(&primary).is_ok())
            .collect();
        let revokers = Revokers {
            own: (&fingerprint, &id),
            others: own_direct.iter().flat_map(|one| named_revokers(one)).collect(),
        };
        let mut revoked = false;
        for one in of(&direct, &[SignatureType::KeyRevocation]) {
            revoked |= revokers.revoke(one, one.verify_key(&primary).is_ok())?;
        }

        let known: Vec<User<'_>> =
            users.iter().map(|(user, signatures)| User::judge(&primary, &fingerprint, &id, user, signatures)).collect();
        // Anybody can add a user id to a copy; only those count that the key itself has signed.
        let living: Vec<&User<'_>> = known.iter().filter(|user| !user.revoked && user.newest.is_some()).collect();
        // Without one that lives it says no longer whose it is.
        revoked |= living.is_empty() && known.iter().any(|user| user.revoked);

        let newest_direct = newest(own_direct.iter().copied());
        let newest_user = newest(living.iter().filter_map(|user| user.newest));
        let weak = own_direct.iter().copied().chain(known.iter().filter_map(|user| user.last)).find_map(weakness);
        let created = i64::from(primary.created_at().as_secs());
        // An end counts even where the signature that sets it does not.
        let last_direct = own_direct.iter().copied().max_by_key(|one| made(one));
        let last_user = known.iter().filter_map(|user| user.last).max_by_key(|one| made(one));
        let set = [newest_direct, newest_user, last_direct, last_user];
        let expires = set.into_iter().flatten().filter_map(|one| end(created, one)).min();
        let signs = newest_user.and_then(signs).or_else(|| newest_direct.and_then(signs)).unwrap_or(true);
        let primary_weakness = algorithm_weakness(primary.public_params());
        let standing = match (primary_weakness.clone(), newest_direct.or(newest_user), weak) {
            (Some(weakness), ..) => Standing::Weak(weakness),
            (None, None, Some(weakness)) => {
                Standing::Weak(format!("the signature of the key under its user id: {weakness}"))
            }
            (None, None, None) => Standing::NotForSigning("no signature of its own stands under its user ids"),
            (None, Some(_), _) if !signs => Standing::NotForSigning("it is for other uses"),
            (None, Some(_), _) => Standing::Good,
        };
        // What does not prove that the primary key is somebody's does not prove it of a subkey either.
        let unbound = match &standing {
            Standing::NotForSigning(_) if newest_direct.or(newest_user).is_some() => None,
            Standing::Good | Standing::Revoked => None,
            standing => Some(standing.clone()),
        };

        let mut parts: Vec<Part> = Vec::with_capacity(1 + subkeys.len());
        for (key, signatures) in subkeys {
            parts.push(subkey(&primary, unbound.as_ref(), key, &signatures, &revokers)?);
        }
        let primary_user = living.iter().filter(|user| user.newest.is_some_and(Signature::is_primary));
        let named = primary_user.max_by_key(|user| user.newest.map(made)).or_else(|| living.first());
        let name = named.map_or_else(|| hex(fingerprint.as_bytes()), |user| printable(user.id));
        parts.insert(0, Part { fingerprint, id, created, expires, standing, key: Material::Primary(primary) });
        Ok(Cert { name, revoked, expires, parts })
    }
}

/// Who may revoke a certificate and its subkeys.
struct Revokers<'a> {
    own: (&'a Fingerprint, &'a KeyId),
    /// The fingerprints of those whom its holder lets do it as well.
    others: Vec<&'a [u8]>,
}

impl Revokers<'_> {
    /// Whether a revocation counts that did, or did not, turn out to be by the primary key. Those by others cannot be
    /// verified without their certificates, and so are believed.
    fn revoke(&self, one: &Signature, verified: bool) -> Result<bool, String> {
        if !verified && names(one, self.own.0, self.own.1) {
            return Err("a certificate holds a revocation that is damaged".into());
        }
        let by_fingerprint = |other: &&[u8]| one.issuer_fingerprint().iter().any(|by| by.as_bytes() == *other);
        let by_id = |other: &&[u8]| one.issuer_key_id().iter().any(|id| other.ends_with(id.as_ref()));
        Ok(verified || self.others.iter().any(|other| by_fingerprint(other) || by_id(other)))
    }
}

/// A user id and what the certificate says of it.
struct User<'a> {
    id: &'a UserId,
    revoked: bool,
    /// The key's last signature under it that counts.
    newest: Option<&'a Signature>,
    /// The last one, even if it is weak.
    last: Option<&'a Signature>,
}

impl<'a> User<'a> {
    fn judge(
        primary: &PublicKey,
        fingerprint: &Fingerprint,
        id: &KeyId,
        user: &'a UserId,
        signatures: &'a [Signature],
    ) -> User<'a> {
        let own = |one: &&Signature| {
            names(one, fingerprint, id) && one.verify_certification(primary, Tag::UserId, user).is_ok()
        };
        let certifications = [
            SignatureType::CertGeneric,
            SignatureType::CertPersona,
            SignatureType::CertCasual,
            SignatureType::CertPositive,
        ];
        let certified: Vec<&Signature> = of(signatures, &certifications).filter(own).collect();
        let newest = newest(certified.iter().copied());
        let revoked_at = of(signatures, &[SignatureType::CertRevocation]).filter(own).map(made).max();
        // A user id that was revoked and taken up again lives.
        let revoked = revoked_at.is_some_and(|at| newest.is_none_or(|newest| made(newest) <= at));
        User { id: user, revoked, newest, last: certified.into_iter().max_by_key(|one| made(one)) }
    }
}

/// What the certificate says of a subkey.
fn subkey(
    primary: &PublicKey,
    unbound: Option<&Standing>,
    key: PublicSubkey,
    signatures: &[Signature],
    revokers: &Revokers<'_>,
) -> Result<Part, String> {
    let binds = |one: &&Signature| one.verify_subkey_binding(primary, &key).is_ok();
    let bindings: Vec<&Signature> = of(signatures, &[SignatureType::SubkeyBinding]).filter(binds).collect();
    let mut revoked = false;
    for one in of(signatures, &[SignatureType::SubkeyRevocation]) {
        revoked |= revokers.revoke(one, binds(&one))?;
    }
    let created = i64::from(key.created_at().as_secs());
    let binding = newest(bindings.iter().copied());
    let standing = match (binding, bindings.iter().find_map(|one| weakness(one))) {
        _ if revoked => Standing::Revoked,
        _ if let Some(unbound) = unbound => unbound.clone(),
        (None, Some(weakness)) => Standing::Weak(format!("the signature that binds the subkey: {weakness}")),
        (None, None) => Standing::NotForSigning("nothing binds it to the certificate"),
        (Some(binding), _) if signs(binding) != Some(true) => Standing::NotForSigning("it is for other uses"),
        // Without this signature anybody could put somebody else's key under their own name.
        (Some(binding), _) => match binding.embedded_signature() {
            Some(back) if back.verify_primary_key_binding(&key, primary).is_ok() => {
                match weakness(back).or_else(|| algorithm_weakness(key.public_params())) {
                    Some(weakness) => Standing::Weak(weakness),
                    None => Standing::Good,
                }
            }
            _ => Standing::NotForSigning("it has not signed that it belongs to the certificate"),
        },
    };
    let last = bindings.iter().copied().max_by_key(|one| made(one));
    let expires = [binding, last].into_iter().flatten().filter_map(|one| end(created, one)).min();
    let (fingerprint, id) = (key.fingerprint(), key.legacy_key_id());
    Ok(Part { fingerprint, id, created, expires, standing, key: Material::Sub(key) })
}

/// The signatures of these types.
fn of<'a, 't>(
    signatures: &'a [Signature],
    types: &'t [SignatureType],
) -> impl Iterator<Item = &'a Signature> + use<'a, 't> {
    signatures.iter().filter(|one| one.typ().is_some_and(|typ| types.contains(&typ)))
}

fn made(signature: &Signature) -> u32 {
    signature.created().map_or(0, |at| at.as_secs())
}

/// The last of them that proves something and is understood.
fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>) -> Option<&'a Signature> {
    signatures.filter(|one| weakness(one).is_none() && not_understood(one).is_none()).max_by_key(|one| made(one))
}

/// When a key expires by this signature: by what it says of the key, or by its own end.
fn end(created: i64, signature: &Signature) -> Option<i64> {
    let after = |from: i64, lasts: Option<pgp::types::Duration>| {
        lasts.map(|lasts| i64::from(lasts.as_secs())).filter(|lasts| *lasts > 0).map(|lasts| from + lasts)
    };
    let of_key = after(created, signature.key_expiration_time());
    let of_signature = after(i64::from(made(signature)), signature.signature_expiration_time());
    of_key.into_iter().chain(of_signature).min()
}

/// Whether the key is one that signs; nothing if the signature does not say.
fn signs(signature: &Signature) -> Option<bool> {
    let said = signature.config()?.hashed_subpackets.iter();
    said.map(|part| &part.data).find_map(|data| match data {
        SubpacketData::KeyFlags(flags) => Some(flags.sign()),
        _ => None,
    })
}

/// The fingerprints of those who may revoke the certificate too.
fn named_revokers(signature: &Signature) -> impl Iterator<Item = &[u8]> {
    let said = signature.config().into_iter().flat_map(|config| &config.hashed_subpackets);
    said.filter_map(|part| match &part.data {
        SubpacketData::RevocationKey(by) => Some(by.fingerprint.as_slice()),
        _ => None,
    })
}

/// Why signatures with such a key prove nothing.
fn algorithm_weakness(params: &PublicParams) -> Option<String> {
    match params {
        PublicParams::RSA(rsa) => {
            // A number is written with its length in bits before it, and the modulus comes first.
            let mut bytes = Vec::new();
            let written = rsa.to_writer(&mut bytes).and_then(|()| Ok(bytes.flush()?));
            let bits = written.ok().and_then(|()| bytes.first_chunk()).map_or(0, |bits| u16::from_be_bytes(*bits));
            let weak = usize::from(bits) < ssh::RSA_BITS_MIN;
            weak.then(|| format!("an RSA key of {bits} bits; {} are the fewest", ssh::RSA_BITS_MIN))
        }
        PublicParams::ECDSA(EcdsaPublicParams::Unsupported { .. }) => {
            Some("an elliptic curve that is not known".into())
        }
        PublicParams::ECDSA(_) | PublicParams::EdDSALegacy(_) | PublicParams::Ed25519(_) | PublicParams::Ed448(_) => {
            None
        }
        _ => Some("a key of a sort that is not taken for signatures".into()),
    }
}

/// A user id as one line of text.
fn printable(id: &UserId) -> String {
    let text = String::from_utf8_lossy(id.id());
    text.chars().filter(|c| !c.is_control()).take(NAME_CHARS_MAX).collect()
}
