//! What authentication promises to its users, tested with the real program over real sockets: one file per promise.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg(unix)]

mod api_keys;
mod basic;
mod client_addresses;
mod documented;
#[cfg(feature = "ext-authz")]
mod ext_authz;
mod forward;
mod forward_cache;
mod forward_failures;
mod forward_settings;
mod hash_command;
mod hostile_tokens;
mod jwt;
mod jwt_keys;
mod jwt_settings;
mod oidc;
mod renewal;
mod renewal_http2;
mod revocation;
mod session_expiry;
mod session_support;
mod side_files;
mod verified_user;
