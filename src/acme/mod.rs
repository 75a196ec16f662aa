//! Certificates that the gateway orders by itself (RFC 8555), keeps on disk and renews.

mod answer;
mod client;
mod managed;
mod order;
mod pending;
mod retry_after;
mod store;

pub(crate) use managed::{AcmeSettings, ManagedCertificate};
pub(crate) use store::ACME_FOLDER;
