use super::{Shared, digest};
use redis::aio::MultiplexedConnection;
use redis::{RedisError, Script};
use std::sync::LazyLock;
use std::time::Duration;

static TAKE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("rate.lua")));

impl Shared {
    pub(super) async fn load_scripts(
        &self,
        link: &mut MultiplexedConnection,
    ) -> Result<(), RedisError> {
        TAKE.load_async(link).await?;
        super::sessions::ENTER.load_async(link).await.map(drop)
    }

    /// Writes a key that expires at once, by the commands that limits use.
    pub(super) async fn try_to_write(
        &self,
        link: &mut MultiplexedConnection,
    ) -> Result<(), RedisError> {
        let key = format!("{}:probe:{}", self.settings.prefix, self.replica);
        TAKE.key(key).arg(1).arg(1_000).invoke_async::<u64>(link).await.map(drop)
    }

    /// One request more of those that `limit` and `who` name: how long it has to wait, nothing when
    /// it need not. `None` when nobody answers.
    pub async fn take(
        &self,
        limit: &str,
        who: &[&[u8]],
        each: Duration,
        burst: u32,
    ) -> Option<Duration> {
        let mut link = self.link()?;
        let key = format!("{}:rate:{limit}:{}", self.settings.prefix, digest(who));
        let micros = each.as_nanos() as f64 / 1000.0;
        let answer: Result<u64, RedisError> =
            TAKE.key(key).arg(micros).arg(micros * f64::from(burst)).invoke_async(&mut link).await;
        self.judge(answer).map(Duration::from_micros)
    }
}
