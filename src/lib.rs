//! Tidegate is a programmable edge gateway on Cloudflare's Pingora: HTTP and WebSocket through
//! one address, routed by one YAML file that is reloaded live.
//!
//! As a program it is `tidegate run --config FILE`. As a library it takes filters of yours:
//!
//! ```no_run
//! use tidegate::filter::{self, Flow, Request};
//! use tidegate::{Config, Filter, Gateway, async_trait};
//!
//! /// Tells upstreams who is asking, as far as the request says.
//! struct TellUser;
//!
//! #[async_trait]
//! impl Filter for TellUser {
//!     async fn on_request(&self, request: &mut Request<'_>) -> Result<Flow, filter::Error> {
//!         if let Some(user) = request.exchange().user_id().map(|id| id.as_str().to_owned()) {
//!             request.head_mut().insert_header("x-claimed-user", user)?;
//!         }
//!         Ok(Flow::Continue)
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     Gateway::from_config(Config::from_file("tidegate.yaml")).filter(TellUser).run_program()
//! }
//! ```
//!
//! Filters can also be used by name from the file, with settings of their own: see
//! [`Gateway::register`]. The repository's `docs/filters.md` explains filters step by step, `docs/cookbook.md` has whole
//! programs, and [`testing`] runs filters without sockets.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod acme;
mod admin;
mod admission;
mod authentication;
mod background;
mod cache;
pub mod cli;
mod compression;
pub mod config;
#[cfg(feature = "demo")]
mod demo;
mod doctor;
mod error_pages;
mod exchange;
pub mod explain;
pub mod filter;
mod gateway;
mod histogram;
mod history;
mod http_client;
mod identity;
mod load;
mod proxy;
mod rate_limit;
mod rate_limited_log;
pub mod routing;
mod server;
mod shared;
mod snapshot;
mod state;
mod telemetry;
pub mod testing;
pub mod tls;
mod traces;
mod upstream;
pub mod websocket;

pub use async_trait::async_trait;
pub use filter::Filter;
pub use gateway::{Config, Gateway};
pub use server::{Handle, HandleError, RunError};
pub use {bytes, http, schemars, serde};

#[cfg(doctest)]
#[doc = include_str!("../docs/filters.md")]
struct FiltersPage;
