//! TLS on both sides: certificates from files, selection by name, verification of peers. Knows nothing of HTTP.
//!
//! A [`Filter`](crate::Filter) reads what a handshake with a client has settled from
//! [`Exchange::tls`](crate::filter::Exchange::tls).

mod client;
mod failure;
mod material;
mod peer;
mod resolver;
mod server;
mod stream;

pub use crate::exchange::{ClientCertificate, TlsInfo};
pub(crate) use client::{ClientIdentity, ClientOptions, UpstreamTls, plain_peer, system_roots};
pub(crate) use failure::HandshakeFailure;
pub(crate) use material::{
    Certificate, CertificateError, Roots, certificates, read_pem, roots, self_signed,
};
pub(crate) use resolver::{CertificateSource, Certificates};
pub(crate) use server::{ClientAuth, ServerOptions, server_config};
pub(crate) use stream::accept;

use rustls::crypto::CryptoProvider;
use std::sync::{Arc, LazyLock};

/// The cryptography provider of all TLS here: the one that Pingora uses.
pub(crate) fn provider() -> &'static Arc<CryptoProvider> {
    static CRYPTO_PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));
    &CRYPTO_PROVIDER
}
