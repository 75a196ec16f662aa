//! What gateways tell each other of revocations, as text. Knows nothing of the server between them.

use super::{Revocation, RevocationKey, Revocations, seconds};
use std::borrow::Cow;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

/// Longest time for which a revocation of another gateway is remembered, in seconds: 400 days.
const MAX_REMEMBER: u64 = 400 * 24 * 60 * 60;

impl Revocations {
    /// For how long revocations are remembered.
    #[cfg(feature = "valkey")]
    pub(crate) fn remember(&self) -> std::time::Duration {
        std::time::Duration::from_secs(self.remember.load(Ordering::Relaxed))
    }

    /// Takes over a revocation of another gateway. Returns whether it is new here.
    pub(crate) fn take_over(&self, revocation: Revocation) -> bool {
        let now = seconds(SystemTime::now());
        // Whoever may write to the shared server must not fill the list forever.
        let until = revocation.until.min(now.saturating_add(MAX_REMEMBER));
        let mut list = self.lock();
        let is_new = list.add(Revocation { until, ..revocation }, now);
        self.count.store(list.entries.len(), Ordering::Release);
        is_new
    }

    /// Those that other gateways have not been told of, once.
    #[cfg(any(test, feature = "valkey"))]
    pub(crate) fn take_untold(&self) -> Vec<Revocation> {
        std::mem::take(&mut self.lock().untold)
    }

    /// All, for other gateways that may have lost them.
    pub(crate) fn all(&self) -> Vec<Revocation> {
        self.lock().entries.values().copied().collect()
    }
}

impl Revocation {
    /// As text for other gateways: key, time, end.
    pub(crate) fn to_text(self) -> String {
        use std::fmt::Write;
        let mut text = String::with_capacity(64);
        for byte in self.key.0 {
            // A `String` takes all that is written to it.
            let _ = write!(text, "{byte:02x}");
        }
        let issued_until =
            self.issued_until.map_or(Cow::Borrowed("-"), |at| Cow::Owned(at.to_string()));
        let _ = write!(text, " {issued_until} {}", self.until);
        text
    }

    /// The revocation in this text of another gateway.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (key, issued_until, until) = (words.next()?, words.next()?, words.next()?);
        let key = u128::from_str_radix(key, 16).ok().filter(|_| key.len() == 32)?;
        let issued_until = match issued_until {
            "-" => None,
            at => Some(at.parse().ok()?),
        };
        let until = until.parse().ok().filter(|_| words.next().is_none())?;
        Some(Self { key: RevocationKey(key.to_be_bytes()), issued_until, until })
    }
}
