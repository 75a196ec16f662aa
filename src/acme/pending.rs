//! The challenges that an authority may request now, found by token or by name. Knows nothing of orders.

use crate::tls::provider;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The challenges that the authority may request now.
#[derive(Debug, Default)]
pub(super) struct PendingChallenges {
    /// Key authorizations by token.
    http: Mutex<HashMap<String, String>>,
    /// Certificates by name.
    tls: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl PendingChallenges {
    /// Answers requests for the token with this key authorization (RFC 8555, section 8.3).
    pub(super) fn add_http_challenge(&self, token: &str, authorization: &str) {
        lock(&self.http).insert(token.to_owned(), authorization.to_owned());
    }

    /// Answers handshakes for this name with a certificate that has the digest (RFC 8737, section 3).
    pub(super) fn add_tls_challenge(&self, name: &str, digest: &[u8]) -> Result<(), String> {
        let certificate = challenge_certificate(name, digest).map_err(|error| error.to_string())?;
        lock(&self.tls).insert(name.to_ascii_lowercase(), Arc::new(certificate));
        Ok(())
    }

    pub(super) fn clear(&self) {
        lock(&self.http).clear();
        lock(&self.tls).clear();
    }

    /// The key authorization for a token.
    pub(super) fn key_authorization(&self, token: &str) -> Option<String> {
        lock(&self.http).get(token).cloned()
    }

    /// The challenge's certificate for a name.
    pub(super) fn challenge_certificate(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        lock(&self.tls).get(&name.to_ascii_lowercase()).cloned()
    }
}

fn challenge_certificate(
    name: &str,
    digest: &[u8],
) -> Result<CertifiedKey, Box<dyn std::error::Error>> {
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    // Whether the two belong together is not asked: rustls would have to understand all that is
    // critical in the certificate.
    let key = provider().key_provider.load_private_key(key)?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
