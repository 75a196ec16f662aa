//! Reasons of close frames (RFC 6455, section 5.5.1) by which others recognise what the gateway means.

/// The start of the close reason of sessions whose upstream connection ended.
pub const UPSTREAM_GONE_PREFIX: &str = "the upstream's connection";
