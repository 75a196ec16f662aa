//! Selects the certificate for a handshake. It knows nothing of how a certificate was obtained.

use super::Certificate;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

/// The ALPN protocol of ACME's TLS-ALPN challenge (RFC 8737, section 6.2).
pub(super) const ACME_ALPN: &[u8] = b"acme-tls/1";

/// A certificate that is issued and renewed while the gateway runs.
pub(crate) trait CertificateSource: Debug + Send + Sync {
    /// The server names that it is for.
    fn names(&self) -> &[String];

    /// The certificate for a handshake, with this server name or without one; `None` until it is issued.
    fn certificate(&self, name: Option<&str>) -> Option<Arc<Certificate>>;

    /// All certificates that it may use.
    fn certificates(&self) -> Vec<Arc<Certificate>>;

    /// The certificate for the handshake of an ACME challenge.
    fn challenge_certificate(&self, name: &str) -> Option<Arc<CertifiedKey>>;
}

/// The certificates of a listener, by the server names that they are for.
#[derive(Debug)]
pub(crate) struct Certificates {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// Wildcards, by what follows the `*`, dot included. A wildcard matches one label (RFC 6125).
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    first: Option<Arc<CertifiedKey>>,
    all: Vec<Certificate>,
    sources: Vec<Arc<dyn CertificateSource>>,
}

impl Certificates {
    /// The certificates, each with the names that it is used for, and the sources of others. If two have the same name,
    /// the first is used.
    pub(crate) fn new(
        certificates: Vec<(Certificate, Vec<String>)>,
        sources: Vec<Arc<dyn CertificateSource>>,
    ) -> Self {
        let (mut exact, mut wildcard) = (HashMap::new(), HashMap::new());
        for (certificate, names) in &certificates {
            for name in names {
                let name = name.to_ascii_lowercase();
                let key = Arc::clone(&certificate.key);
                match name.strip_prefix('*') {
                    Some(suffix) => wildcard.entry(suffix.to_owned()).or_insert(key),
                    None => exact.entry(name).or_insert(key),
                };
            }
        }
        let first = certificates.first().map(|(certificate, _)| Arc::clone(&certificate.key));
        let all = certificates.into_iter().map(|(certificate, _)| certificate).collect();
        Self { exact, wildcard, first, all, sources }
    }

    /// All certificates.
    pub(crate) fn all(&self) -> impl Iterator<Item = Certificate> {
        let come = self.sources.iter().flat_map(|source| source.certificates());
        self.all.iter().cloned().chain(come.map(|certificate| (*certificate).clone()))
    }

    /// Whether there are sources of certificates, which may have challenges to answer in handshakes.
    pub(super) fn has_sources(&self) -> bool {
        !self.sources.is_empty()
    }

    /// The certificate for this server name; if there is none, the first one.
    fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let by_name = name.and_then(|name| {
            let lower = name.to_ascii_lowercase();
            let parent = lower.find('.').and_then(|dot| lower.get(dot..));
            let of_source = || {
                let mut sources = self.sources.iter();
                let source = sources.find(|source| source.names().contains(&lower))?;
                Some(Arc::clone(&source.certificate(Some(&lower))?.key))
            };
            let of_parent = || parent.and_then(|parent| self.wildcard.get(parent)).cloned();
            self.exact.get(&lower).cloned().or_else(of_source).or_else(of_parent)
        });
        let any = || {
            let come = self.sources.iter().find_map(|source| source.certificate(None));
            self.first.clone().or_else(|| come.map(|certificate| Arc::clone(&certificate.key)))
        };
        by_name.or_else(any)
    }

    fn challenge_certificate(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.sources.iter().find_map(|source| source.challenge_certificate(name))
    }
}

fn is_challenge(hello: &ClientHello<'_>) -> bool {
    let Some(mut protocols) = hello.alpn() else { return false };
    protocols.next() == Some(ACME_ALPN) && protocols.next().is_none()
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if is_challenge(&hello) {
            return self.challenge_certificate(hello.server_name()?);
        }
        self.find(hello.server_name())
    }
}
