//! What the RFCs define: pure functions over bytes, without sockets and without policy. Knows nothing of the gateway.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod accept;
pub mod address;
pub mod basic_credentials;
pub mod chunked;
pub mod conditional;
pub mod control;
pub mod cookie;
pub mod encoding;
pub mod error_code;
pub mod forwarded;
pub mod framing;
pub mod grpc;
pub mod head;
pub mod header_name;
pub mod host;
pub mod jwt;
pub mod origin;
pub mod path;
pub mod proxy_headers;
pub mod proxy_status;
pub mod query;
pub mod raw_head;
pub mod redact;
#[cfg(test)]
mod reference;
pub mod request_id;
pub mod secret;
mod spelling;
pub mod stable_hash;
pub mod strict_json;
pub mod template;
pub mod trace_context;
pub mod url;
pub mod via;
pub mod websocket;
