//! `tidegate doctor` names what is wrong: each fault is a real server, or a real gateway with a
//! real mistake in its file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg(unix)]

mod patient;

mod at_the_door;
mod behind_the_gateway;
mod codes;
mod handshake;
mod healthy;
mod in_between;
mod origin;
mod session;
