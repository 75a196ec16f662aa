//! Request ids, which connect a log line of the gateway with one of the upstream. Knows nothing of logs.

use uuid::{NoContext, Timestamp, Uuid};

/// Maximum length of an id that is kept from a trusted proxy, in bytes.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// A new id: a time-ordered UUID (RFC 9562, version 7), 36 characters.
pub fn generate() -> String {
    // Without a context: one would keep ids of the same millisecond in order, by a lock.
    Uuid::new_v7(Timestamp::now(NoContext)).hyphenated().to_string()
}

/// Whether an id from outside may be logged and forwarded.
pub fn is_acceptable(id: &str) -> bool {
    (1..=MAX_REQUEST_ID_BYTES).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:+/=@".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_that_could_forge_a_log_line_is_refused() {
        assert!(is_acceptable(&generate()));
        for id in ["", "a b", "a\"b", "a\u{7f}", &"x".repeat(129)] {
            assert!(!is_acceptable(id), "{id:?}");
        }
    }
}
