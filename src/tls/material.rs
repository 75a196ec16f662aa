//! Reads certificates, keys and authorities from files. It must not know what they are used for.

use super::provider;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

/// Maximum size of a file of certificates or keys, in bytes. All authorities of a system take some 250 kB.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// A certificate with its key, ready for handshakes.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    /// The certificate and the signing key, as rustls uses them.
    pub key: Arc<CertifiedKey>,
    /// The names that it contains, as spelt there: `api.example.com`, `*.example.com`.
    pub names: Vec<String>,
    /// When it becomes valid.
    pub not_before: SystemTime,
    /// When it expires.
    pub not_after: SystemTime,
}

/// Trusted certificate authorities.
pub(crate) type Roots = Arc<RootCertStore>;

/// What is wrong with a pair of files.
#[derive(Debug)]
pub(crate) enum CertificateError {
    /// A fault of the certificate's file.
    Certificate(String),
    /// A fault of the key's file, or of the two together.
    Key(String),
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(reason) => write!(f, "the certificate is not usable: {reason}"),
            Self::Key(reason) => write!(f, "the private key is not usable: {reason}"),
        }
    }
}

/// Minimum length of an RSA key, in bits, that the TLS library signs with.
const MIN_RSA_BITS: usize = 2048;

impl Certificate {
    /// Reads a certificate, its intermediates and its key from PEM files.
    pub(crate) fn load(cert: &Path, key: &Path) -> Result<Self, CertificateError> {
        let chain = certificates(cert).map_err(CertificateError::Certificate)?;
        Self::new(chain, private_key(key).map_err(CertificateError::Key)?)
    }

    /// Reads a certificate, its intermediates and its key from PEM text.
    pub(crate) fn parse(chain: &str, key: &str) -> Result<Self, CertificateError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
        let chain =
            chain.map_err(|error| CertificateError::Certificate(format!("not PEM: {error}")))?;
        let read = PrivateKeyDer::from_pem_slice(key.as_bytes());
        let read = read.map_err(|error| match is_encrypted(key.as_bytes()) {
            true => CertificateError::Key(ENCRYPTED_KEY_HELP.to_owned()),
            false => CertificateError::Key(format!("not PEM: {error}")),
        });
        Self::new(chain, read?)
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, CertificateError> {
        let Some(leaf) = chain.first() else {
            return Err(CertificateError::Certificate("contains no certificate".to_owned()));
        };
        let (_, parsed) = X509Certificate::from_der(leaf)
            .map_err(|_| CertificateError::Certificate("not an X.509 certificate".to_owned()))?;
        let names = names_in(&parsed);
        let rsa_bits = match parsed.public_key().parsed() {
            Ok(PublicKey::RSA(key)) => Some(key.key_size()),
            _ => None,
        };
        let validity = parsed.validity();
        let [not_before, not_after] = [validity.not_before, validity.not_after].map(|time| {
            let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
            SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
        });
        let curve = unknown_curve(&key);
        let key = CertifiedKey::from_der(chain, key, provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => CertificateError::Key(
                "the private key does not belong to the certificate".to_owned(),
            ),
            error => CertificateError::Key(match (curve, rsa_bits) {
                (None, Some(bits)) if bits < MIN_RSA_BITS => format!(
                    "the RSA key has {bits} bits, but TLS needs at least {MIN_RSA_BITS}: create \
                     a new key"
                ),
                (Some(curve), _) => format!(
                    "the curve {curve} of the key is not supported: create a key with P-256, \
                     P-384 or Ed25519"
                ),
                (None, _) => format!("the private key is not supported: {error}"),
            }),
        })?;
        Ok(Self { key: Arc::new(key), names, not_before, not_after })
    }

    /// Whether it is for this server name, in lower case. A wildcard matches one label (RFC 6125).
    pub(crate) fn is_for(&self, name: &str) -> bool {
        let parent = name.split_once('.').map(|(_, parent)| parent);
        let is_it = |own: &String| match own.strip_prefix("*.") {
            Some(suffix) => parent == Some(suffix),
            None => own == name,
        };
        self.names.iter().any(is_it)
    }

    /// Whether it has expired.
    pub(crate) fn has_expired(&self) -> bool {
        self.not_after <= SystemTime::now()
    }

    /// Whether it is valid at this time.
    pub(crate) fn is_valid(&self) -> bool {
        self.not_before <= SystemTime::now() && !self.has_expired()
    }

    /// The first of its names, for logs.
    pub(crate) fn name(&self) -> &str {
        self.names.first().map_or("(unnamed)", String::as_str)
    }
}

/// The names and addresses that a certificate is for.
fn names_in(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let Some(alternatives) = alternatives else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    alternatives.value.general_names.iter().filter_map(name).collect()
}

/// The bytes of a PEM file, unparsed.
pub(crate) fn read_pem(path: &Path) -> std::io::Result<Vec<u8>> {
    tidegate_disk::read(path, MAX_FILE_BYTES)
}

const ENCRYPTED_KEY_HELP: &str = "the private key is encrypted, and the gateway cannot ask for a \
                                  passphrase. Decrypt it with `openssl pkey -in KEY -out PLAIN`, \
                                  and give the file mode 0600";

/// Whether a key is encrypted (RFC 5958, section 3; RFC 1421, section 4.6.1.1).
fn is_encrypted(pem: &[u8]) -> bool {
    let has = |text: &[u8]| pem.windows(text.len()).any(|part| part == text);
    has(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
        || (has(b"PRIVATE KEY-----") && has(b"Proc-Type: 4,ENCRYPTED"))
}

/// Curves of keys that TLS cannot use here, and the encodings of their names (RFC 5480, RFC 5639, RFC 8410).
const UNUSED_CURVES: [(&str, &[u8]); 14] = [
    ("secp192r1", &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x01]),
    ("secp224r1", &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x21]),
    ("secp256k1", &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a]),
    ("secp521r1 (P-521)", &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23]),
    ("brainpoolP256r1", &[0x06, 0x09, 0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x07]),
    ("brainpoolP256t1", &[0x06, 0x09, 0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x08]),
    ("brainpoolP320r1", &[0x06, 0x09, 0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x09]),
    ("brainpoolP384r1", &[0x06, 0x09, 0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x0b]),
    ("brainpoolP384t1", &[0x06, 0x09, 0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x0c]),
    ("brainpoolP512r1", &[0x06, 0x09, 0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x0d]),
    ("SM2", &[0x06, 0x08, 0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x82, 0x2d]),
    ("X25519", &[0x06, 0x03, 0x2b, 0x65, 0x6e]),
    ("X448", &[0x06, 0x03, 0x2b, 0x65, 0x6f]),
    ("Ed448", &[0x06, 0x03, 0x2b, 0x65, 0x71]),
];

/// The name of a key's curve, if it is a known one that TLS cannot use here.
fn unknown_curve(key: &PrivateKeyDer<'_>) -> Option<&'static str> {
    let der = key.secret_der();
    let has = |oid: &[u8]| der.windows(oid.len()).any(|part| part == oid);
    UNUSED_CURVES.iter().find(|(_, oid)| has(oid)).map(|(name, _)| *name)
}

/// The key in a PEM file.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let shown = path.display();
    let text = read_pem(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| match is_encrypted(&text) {
        true => format!("{shown}: {ENCRYPTED_KEY_HELP}"),
        false => format!("{shown} contains no private key in PEM format"),
    })
}

/// The certificates in a PEM file; each is one indeed.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    let text = read_pem(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if found.is_empty() => {
            Err(format!("{shown} contains no certificate in PEM format"))
        }
        Ok(found) => match found.iter().all(|der| X509Certificate::from_der(der).is_ok()) {
            true => Ok(found),
            false => Err(format!("{shown} contains a certificate that is not X.509")),
        },
        Err(error) => Err(format!("{shown} is not PEM: {error}")),
    }
}

/// Reads authorities from a PEM file.
pub(crate) fn roots(path: &Path) -> Result<Roots, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| {
            format!("{} is not a certificate authority: {error}", path.display())
        })?;
    }
    Ok(Arc::new(roots))
}

/// A self-signed certificate for `localhost`, one for the life of the process.
pub(crate) fn self_signed() -> Result<Certificate, String> {
    static SELF_SIGNED: LazyLock<Result<Certificate, String>> = LazyLock::new(|| {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).map_err(|error| error.to_string())?;
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        Certificate::new(vec![made.cert.der().clone()], key).map_err(|fault| fault.to_string())
    });
    SELF_SIGNED.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encrypted_key_and_unknown_curve_are_reported_as_such() {
        let chain = rcgen::generate_simple_self_signed(["a.test".to_owned()]).expect("one");
        let refused = |key: &str| match Certificate::parse(&chain.cert.pem(), key) {
            Err(CertificateError::Key(reason)) => reason,
            other => panic!("{other:?}"),
        };
        for encrypted in [
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n\
             MIIB\n-----END RSA PRIVATE KEY-----\n",
        ] {
            let reason = refused(encrypted);
            assert!(reason.contains("the private key is encrypted"), "{reason}");
        }
        let secp256k1 = "-----BEGIN PRIVATE KEY-----\n\
             MIGEAgEAMBAGByqGSM49AgEGBSuBBAAKBG0wawIBAQQgzDIgg2JLk5OmsGINzbRL\n\
             Tyq+MG3zCJcMfGwlJB1DaaqhRANCAARavDUV9G3UmwYiqG3gf6/D0z1fr0XpFOj3\n\
             lqKlqFBM7vxNi71pJ8bbUIN2cbznAgHuHGLSPg5osAUdNqfJLS/N\n\
             -----END PRIVATE KEY-----\n";
        let brainpool = "-----BEGIN PRIVATE KEY-----\n\
             MIGIAgEAMBQGByqGSM49AgEGCSskAwMCCAEBBwRtMGsCAQEEIEwt8P2jDBwswhJl\n\
             ubtGNzbP1LPoAOAUhCweDKwt847GoUQDQgAEgc4GM2hCWdKspLTTzWfOn18fTDbD\n\
             rUsJxHeY+vSCWF1SUexQKebctRnuyWIrGDFFWtbtnEJRoQl6KTHmIwcBOw==\n\
             -----END PRIVATE KEY-----\n";
        for (key, name) in [(secp256k1, "secp256k1"), (brainpool, "brainpoolP256r1")] {
            let reason = refused(key);
            assert!(reason.contains(&format!("the curve {name}")), "{reason}");
        }
    }
}
