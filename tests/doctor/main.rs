//! `tidegate doctor` names the fault: each is a real server, or a real gateway with a real mistake in its file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg(unix)]

mod harness;

mod codes;
mod connecting;
mod handshake;
mod healthy;
mod intermediate_proxies;
mod origin;
mod session;
mod through_the_gateway;
