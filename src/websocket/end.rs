//! How a session ends: who ends it, with which close code, and why. Knows nothing of sessions.

use crate::exchange::Initiator;
use std::borrow::Cow;
use tidegate_http::websocket::close_code;

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct End {
    /// Who ended it.
    pub initiator: Initiator,
    /// The code of the first close frame (RFC 6455, section 7.4), if there was one with a code.
    pub code: Option<u16>,
    /// The close frame's reason, or what happened.
    pub reason: Cow<'static, str>,
}

/// A request from outside to end a session, with this code and reason.
pub(crate) type CloseRequest = End;

impl End {
    /// The end of a session that makes room for a newer one (RFC 6455, section 7.4.1: 1008, policy violation).
    pub(crate) fn replaced() -> Self {
        Self::new(
            Initiator::Limit,
            close_code::POLICY_VIOLATION,
            "replaced by a newer session: the limit of sessions is reached",
        )
    }

    /// An end with a close code and a reason of the gateway.
    pub(crate) fn new(
        initiator: Initiator,
        code: u16,
        reason: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { initiator, code: Some(code), reason: reason.into() }
    }
}
