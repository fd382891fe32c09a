//! An authority that nobody knows, and a server's certificate by it for this machine.

use std::net::Ipv4Addr;
use std::sync::{Arc, OnceLock};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// An authority.
pub struct Authority {
    /// Its certificate, in PEM.
    pub certificate: String,
    /// What a server on `localhost` shows.
    pub tls: Arc<ServerConfig>,
}

/// The one of this test binary.
pub fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| {
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(params, key);
        let names = ["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string()];
        let own_key = KeyPair::generate().expect("a key");
        let own = CertificateParams::new(names).expect("names").signed_by(&own_key, &issuer).expect("a certificate");
        let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own_key.serialize_der()));
        let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(vec![own.der().clone()], secret)
            .expect("the key fits");
        Authority { certificate, tls: Arc::new(tls) }
    })
}
