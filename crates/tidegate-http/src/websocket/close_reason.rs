//! Reasons of close frames (RFC 6455, section 5.5.1) by which others recognise what the gateway means.

/// How the reason begins with which the gateway closes a session whose upstream is gone.
pub const UPSTREAM_GONE: &str = "the upstream's connection";
