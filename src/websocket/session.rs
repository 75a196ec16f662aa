use std::sync::atomic::{AtomicU8, Ordering};

/// Who ended a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Initiator {
    /// The client closed its connection first.
    Client = 1,
    /// The upstream closed its connection first.
    Upstream = 2,
    /// Neither side sent anything for `websocket.idle_timeout`.
    Idle = 3,
    /// The upstream did not answer the handshake within `timeouts.read`.
    Handshake = 4,
    /// A connection broke.
    Network = 5,
}

impl Initiator {
    /// As it stands in logs (`websocket.close.initiator`).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Idle => "idle",
            Self::Handshake => "handshake",
            Self::Network => "network",
        }
    }
}

/// What the tunnel and the request that opened it tell each other. Shared, without a lock.
#[derive(Debug, Default)]
pub struct Session {
    ended_by: AtomicU8,
}

impl Session {
    /// Notes who ended the session; the first to say so is right.
    pub fn end(&self, initiator: Initiator) {
        let _ =
            self.ended_by.compare_exchange(0, initiator as u8, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Who ended it, if anybody has.
    pub fn ended_by(&self) -> Option<Initiator> {
        use Initiator::{Client, Handshake, Idle, Network, Upstream};
        let ended_by = self.ended_by.load(Ordering::Acquire);
        [Client, Upstream, Idle, Handshake, Network]
            .into_iter()
            .find(|&initiator| initiator as u8 == ended_by)
    }
}
