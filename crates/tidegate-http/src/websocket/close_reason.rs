//! Texts of close reasons (RFC 6455, section 5.5.1) that the doctor recognises. Knows nothing of when they are sent.

/// The start of the close reason of sessions whose upstream connection ended.
pub const UPSTREAM_GONE_PREFIX: &str = "the upstream's connection";
