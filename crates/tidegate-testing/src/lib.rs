//! The test kit: filters without sockets (`request`), a gateway as a child process ([`Config`]) or in the test's process
//! (`LocalGateway`), upstreams that record their requests ([`Upstream`]), clients of one socket, and the services around a
//! gateway (certificate authorities, an issuer of tokens, DNS, Redis, a trace collector). It does not know the gateway's code, only its public
//! API.
//!
//! `docs/testing.md` shows a test of a filter without sockets and one with them.
//!
//! A failed expectation panics: the kit is only for tests.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod acme_site;
mod admin;
mod binary;
mod cli;
mod collector;
mod config;
pub mod dns;
mod files;
mod gateway;
pub mod http2;
mod https;
mod identity_provider;
mod lines;
#[cfg(feature = "filters")]
mod local;
mod metrics;
mod pebble;
pub mod peers;
mod pool;
mod ports;
mod ready;
mod redis;
mod site;
mod tls;
mod tls_service;
mod upstream;
mod websocket;
mod wire;

pub use acme_site::AcmeSite;
pub use admin::{Admin, TOKEN};
pub use binary::binary;
pub use cli::{Cli, cli};
pub use collector::{Collector, Span as CollectedSpan};
pub use config::Config;
pub use files::{named_pipe, replace_file};
pub use gateway::Gateway;
pub use https::{Https, SITES};
pub use identity_provider::IdentityProvider;
pub use lines::Lines;
pub use metrics::Metrics;
pub use pebble::Pebble;
pub use pool::{bodies, pool, with_changeable_status};
pub use ports::free_port;
pub use ready::Ready;
pub use redis::Redis;
pub use tls::{Authority, Client, TlsVersion};
pub use tls_service::{TlsService, answer_by_http2};
pub use upstream::{Recorder, Request, Upstream, ok, respond};
pub use websocket::{Handshake, Socket, next, switch};
pub use wire::{Head, Response, Wire, get};

#[cfg(feature = "filters")]
pub use local::LocalGateway;
#[cfg(feature = "filters")]
pub use tidegate::testing::{FilterRun, TestRequest, TestResponse, request, response};

#[cfg(all(doctest, feature = "filters"))]
#[doc = include_str!("../../../docs/testing.md")]
struct TestingPage;

use std::time::Duration;

/// Maximum time of any wait, even on a loaded machine; a wait that exceeds it fails the test.
pub const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// Waits for a future; panics with `what` after [`WAIT_TIMEOUT`].
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(WAIT_TIMEOUT, future).await {
        Ok(value) => value,
        Err(_) => panic!("timed out after {WAIT_TIMEOUT:?} waiting for {what}"),
    }
}

/// Polls until the condition holds; for states that nothing announces.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    within(what, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
