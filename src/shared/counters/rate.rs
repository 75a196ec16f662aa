//! The script that counts requests in the shared store. It knows nothing of routes: the caller names what is
//! counted.

use super::{SharedCounterClient, digest};
use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisError, Script};
use std::sync::LazyLock;
use std::time::Duration;

/// The script that takes a token from a shared bucket.
static TAKE_TOKEN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("rate.lua")));

impl SharedCounterClient {
    pub(super) async fn load_scripts(
        &self,
        link: &mut MultiplexedConnection,
    ) -> Result<(), RedisError> {
        TAKE_TOKEN.load_async(link).await?;
        super::sessions::ACQUIRE_SESSION.load_async(link).await.map(drop)
    }

    /// Writes a key that expires at once, by the commands that limits use.
    pub(super) async fn try_to_write(
        &self,
        link: &mut MultiplexedConnection,
    ) -> Result<(), RedisError> {
        let key = format!("{}:probe:{}", self.settings.prefix, self.replica);
        let wait = TAKE_TOKEN.key(key).arg(1).arg(1_000).invoke_async(link).await?;
        plausible_wait(wait, 1.0).map(drop)
    }

    /// Counts a request for `limit` and `who`; returns how long the client must wait, which is zero for an accepted
    /// request. `None` if the server does not answer.
    pub(crate) async fn take_token(
        &self,
        limit: &str,
        who: &[&[u8]],
        each: Duration,
        burst: u32,
    ) -> Option<Duration> {
        let mut link = self.link()?;
        let key = format!("{}:rate:{limit}:{}", self.settings.prefix, digest(who));
        let micros = each.as_nanos() as f64 / 1000.0;
        let answer: Result<i64, RedisError> = TAKE_TOKEN
            .key(key)
            .arg(micros)
            .arg(micros * f64::from(burst))
            .invoke_async(&mut link)
            .await;
        let answer = answer.and_then(|wait| plausible_wait(wait, micros));
        self.unless_failed(answer).map(Duration::from_micros)
    }
}

/// The script's answer, which is never longer than the time that one request takes: by its clock the
/// next request is due at most a burst ahead.
fn plausible_wait(wait: i64, micros_each: f64) -> Result<u64, RedisError> {
    let longest = micros_each.ceil() + 1.0;
    let wait = u64::try_from(wait).ok().filter(|&wait| wait as f64 <= longest);
    wait.ok_or_else(|| {
        (ErrorKind::UnexpectedReturnType, "the response to the rate-limit script is malformed")
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn implausible_wait_of_the_script_is_an_error() {
        let of = |wait| plausible_wait(wait, 1_500.5).ok();
        assert_eq!([of(0), of(1_501), of(1_502)], [Some(0), Some(1_501), Some(1_502)]);
        assert_eq!([of(-1), of(i64::MIN), of(1_600), of(i64::MAX)], [None; 4]);
        assert_eq!(plausible_wait(0, 0.001).ok(), Some(0));
    }
}
