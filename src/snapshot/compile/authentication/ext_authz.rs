//! Compiles a scheme of external authorization over gRPC. Verifies nothing, and asks no service.

use super::super::Compiler;
use crate::authentication::Scheme;
use std::sync::Arc;
use tidegate_config::Forward;

#[cfg(not(feature = "ext-authz"))]
impl Compiler<'_> {
    /// No scheme, and a problem where it is wanted.
    pub(super) fn ext_authz(
        &mut self,
        _: &str,
        written: &Forward,
        key_path: &str,
    ) -> Option<(Arc<dyn Scheme>, String)> {
        let reason =
            "this binary was built without `ext_authz`; build it with `--features ext-authz`";
        self.problems.add(written.url.span, key_path, reason);
        None
    }
}

#[cfg(feature = "ext-authz")]
impl Compiler<'_> {
    /// The scheme, and its settings in a serialised form.
    pub(super) fn ext_authz(
        &mut self,
        name: &str,
        written: &Forward,
        key_path: &str,
    ) -> Option<(Arc<dyn Scheme>, String)> {
        use super::forward::AskedService;
        use crate::authentication::{ExtAuthzScheme, ExtAuthzService};
        use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

        let AskedService { url, authorities, settings, serialised } =
            self.asked_service(written, key_path)?;
        let endpoint = Endpoint::from(url.clone()).connect_timeout(settings.timeout);
        let endpoint = match (url.scheme_str(), authorities) {
            (Some("https"), Some((_, pem))) => {
                let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
                endpoint.tls_config(tls)
            }
            (Some("https"), None) => {
                endpoint.tls_config(ClientTlsConfig::new().with_native_roots())
            }
            _ => Ok(endpoint),
        };
        match endpoint {
            Ok(endpoint) => {
                let (timeout, removed) = (settings.timeout, settings.take.headers.clone());
                let service = ExtAuthzService::new(endpoint, url, timeout, removed);
                Some((Arc::new(ExtAuthzScheme::new(name, settings, service)), serialised))
            }
            Err(error) => {
                self.problems.add(written.url.span, key_path, error.to_string());
                None
            }
        }
    }
}
