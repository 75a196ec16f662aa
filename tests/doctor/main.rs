//! `tidegate doctor` names what is wrong: each fault is a real server, or a real gateway with a
//! real mistake in its file.

#![cfg(unix)]

#[path = "../gateway/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "these tests need only a part of the kit")]
mod support;

mod patient;

mod at_the_door;
mod behind_the_gateway;
mod codes;
mod handshake;
mod healthy;
mod in_between;
mod origin;
mod session;
