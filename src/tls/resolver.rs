use super::Certificate;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::sync::Arc;

/// The certificates of a listener, by the server names that they are for.
#[derive(Debug)]
pub struct Certificates {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what follows the `*`, dot included. A wildcard stands for one label (RFC 6125).
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    first: Option<Arc<CertifiedKey>>,
    all: Vec<Certificate>,
}

impl Certificates {
    /// The certificates, each with the names that it is used for. Where two have a name, the
    /// first is used.
    pub fn new(certificates: Vec<(Certificate, Vec<String>)>) -> Self {
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
        Self { exact, wildcard, first, all }
    }

    /// All of them.
    pub fn all(&self) -> &[Certificate] {
        &self.all
    }

    /// The one for this server name.
    fn find(&self, name: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        let by_name = name.and_then(|name| {
            let lower = name.to_ascii_lowercase();
            let parent = lower.find('.').and_then(|dot| lower.get(dot..));
            self.exact.get(&lower).or_else(|| parent.and_then(|parent| self.wildcard.get(parent)))
        });
        by_name.or(self.first.as_ref())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name()).cloned()
    }
}
