//! TLS settings of a listener. It accepts no connection.

use super::resolver::ACME_ALPN;
use super::{Certificates, Roots, provider};
use rustls::ServerConfig;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use std::sync::{Arc, LazyLock};

/// TLS settings of a listener.
#[derive(Debug)]
pub(crate) struct ServerOptions {
    /// Its certificates.
    pub certificates: Arc<Certificates>,
    /// Whether it accepts TLS 1.2 as well as 1.3.
    pub tls12: bool,
    /// Whether it offers HTTP/2, and HTTP/1.1.
    pub protocols: (bool, bool),
    /// The client certificates that it asks for.
    pub client_auth: Option<ClientAuth>,
}

/// Mutual TLS.
#[derive(Debug)]
pub(crate) struct ClientAuth {
    /// The authorities whose clients are accepted.
    pub roots: Roots,
    /// Whether a client without a certificate is accepted.
    pub is_optional: bool,
}

/// What rustls needs to accept connections.
pub(crate) fn server_config(options: &ServerOptions) -> Result<ServerConfig, String> {
    let versions = if options.tls12 { vec![&TLS13, &TLS12] } else { vec![&TLS13] };
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(&versions)
        .map_err(|error| error.to_string())?;
    let builder = match &options.client_auth {
        None => builder.with_no_client_auth(),
        Some(auth) => builder.with_client_cert_verifier(verifier(auth)?),
    };
    let mut config = builder.with_cert_resolver(Arc::clone(&options.certificates) as _);
    let (h2, h1) = options.protocols;
    config.alpn_protocols = [(h2, &b"h2"[..]), (h1, b"http/1.1")]
        .into_iter()
        .filter(|(is_spoken, _)| *is_spoken)
        .map(|(_, name)| name.to_vec())
        .collect();
    if options.certificates.has_sources() {
        config.alpn_protocols.push(ACME_ALPN.to_vec());
    }
    // The state of a session is in the client's ticket: clients cannot fill the gateway's memory, and sessions can be
    // resumed after a reload.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = match options.client_auth {
        None => shared_tickets()?,
        // Clients are verified again when the authorities change.
        Some(_) => rustls::crypto::ring::Ticketer::new().map_err(|error| error.to_string())?,
    };
    Ok(config)
}

fn verifier(auth: &ClientAuth) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let builder = WebPkiClientVerifier::builder_with_provider(
        Arc::clone(&auth.roots),
        Arc::clone(provider()),
    );
    let builder = if auth.is_optional { builder.allow_unauthenticated() } else { builder };
    builder.build().map_err(|error| error.to_string())
}

/// Session tickets under one key for all listeners and snapshots; the key is replaced every six
/// hours, and the one before it is still accepted.
fn shared_tickets() -> Result<Arc<dyn ProducesTickets>, String> {
    type SharedTickets = Result<Arc<dyn ProducesTickets>, String>;
    static TICKET_KEYS: LazyLock<SharedTickets> =
        LazyLock::new(|| rustls::crypto::ring::Ticketer::new().map_err(|error| error.to_string()));
    TICKET_KEYS.clone()
}
