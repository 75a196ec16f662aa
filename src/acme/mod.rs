//! Certificates from ACME authorities (RFC 8555): the gateway orders, stores and renews them. Knows nothing of
//! listeners and handshakes.

mod answer;
mod client;
mod managed;
mod order;
mod pending;
mod retry_after;
mod store;

pub(crate) use managed::{AcmeSettings, ManagedCertificate};
pub(crate) use store::ACME_FOLDER;
