//! Verifies secrets against slow hashes, on threads that serve no requests, and bounds how much of that there is. Knows
//! no user and no file.

mod attempts;
mod verified;

pub(crate) use attempts::{AttemptLimits, Attempts, Busy};

use super::Refusal;
use super::password::SlowHash;
use crate::background;
use attempts::AttemptGuard;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use verified::{Tag, VerifiedSecrets};

/// Maximum time that a verification waits for its turn. A client that has to wait longer is better off trying again.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// How many verifications may be in flight. Each holds a password of at most two kilobytes and a request; at 50 ms per
/// hash one core works on them for 13 seconds, which is longer than any of them may wait. A page that loads its parts in
/// parallel before the first is verified needs some; eight clients are needed to fill the queue. Those without an address
/// are many clients, and fill a quarter of it, which is worked off within [`MAX_WAIT`].
const LIMITS: AttemptLimits = AttemptLimits { in_flight: 256, per_client: 32, without_address: 64 };

/// What runs the hashes, in `GET /status`.
const TASK_NAME: &str = "password hashes";

/// The one of this process: its bounds are those of the machine, whatever schemes and versions of the configuration
/// there are.
static VERIFIER: LazyLock<PasswordVerifier> = LazyLock::new(PasswordVerifier::new);

/// Verifies secrets against slow hashes.
#[derive(Debug)]
pub(crate) struct PasswordVerifier {
    /// A permit for each hash that may be computed at the same time.
    running: Arc<Semaphore>,
    attempts: Arc<Attempts>,
    verified: VerifiedSecrets,
}

/// An attempt to log in.
#[derive(Clone, Copy)]
pub(crate) struct Attempt<'a> {
    /// The address of the client.
    pub(crate) client: Option<IpAddr>,
    /// What the client knows.
    pub(crate) secret: &'a [u8],
    /// The hashes, of which one must match.
    pub(crate) hashes: &'a [Arc<SlowHash>],
    /// Whether the attempt fails whatever matches, and must only take as long as others.
    pub(crate) is_decoy: bool,
    /// Whether nobody has asked; it does not wait, and does not count.
    pub(crate) is_dry_run: bool,
}

/// The result of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verification {
    /// The hash with this index matches.
    Right(usize),
    /// None matches.
    Wrong,
    /// Nobody knows: the client must try again later.
    Busy(Busy),
}

impl PasswordVerifier {
    /// The verifier of this process.
    pub(crate) fn shared() -> &'static Self {
        &VERIFIER
    }

    fn new() -> Self {
        // Half of the cores: the other half serves requests, however many passwords are wrong.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            running: Arc::new(Semaphore::new((cores / 2).max(1))),
            attempts: Attempts::new(LIMITS),
            verified: VerifiedSecrets::new(),
        }
    }

    /// Verifies a secret. What has been verified before costs no hash.
    pub(crate) async fn verify(&'static self, attempt: Attempt<'_>) -> Verification {
        let Attempt { client, secret, hashes, is_decoy, is_dry_run } = attempt;
        let tags: Vec<Option<Tag>> =
            hashes.iter().map(|hash| self.verified.tag(hash, secret)).collect();
        if let Some(index) = self.find_verified(&tags, is_decoy) {
            return Verification::Right(index);
        }
        let guard = match self.attempts.begin(client) {
            Ok(guard) => guard,
            Err(busy) => return Verification::Busy(busy),
        };
        let Some(permit) = self.permit(is_dry_run).await else {
            return Verification::Busy(Busy::InFlight);
        };
        // Another request with the same secret may have been faster.
        if let Some(index) = self.find_verified(&tags, is_decoy) {
            return Verification::Right(index);
        }
        let work = Work { guard, permit, secret: secret.to_vec(), hashes: hashes.to_vec(), tags };
        let found = background::run_blocking(TASK_NAME, move || {
            work.run(&self.verified, is_decoy, is_dry_run)
        });
        match found.await {
            Ok(Some(index)) => Verification::Right(index),
            Ok(None) => Verification::Wrong,
            // It is logged.
            Err(background::TaskPanicked) => Verification::Busy(Busy::InFlight),
        }
    }

    /// The hash that is known to match. A decoy looks as well, for it takes as long as others.
    fn find_verified(&self, tags: &[Option<Tag>], is_decoy: bool) -> Option<usize> {
        let is_known =
            |tag: &Option<Tag>| tag.as_ref().is_some_and(|it| self.verified.contains(it));
        tags.iter().position(is_known).filter(|_| !is_decoy)
    }

    /// Waits for a turn. A dry run does not: it may have no timers.
    async fn permit(&self, is_dry_run: bool) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.running).try_acquire_owned() {
            return Some(permit);
        }
        if is_dry_run {
            return None;
        }
        timeout(MAX_WAIT, Arc::clone(&self.running).acquire_owned()).await.ok()?.ok()
    }
}

/// A verification whose turn it is. It goes on if the client leaves, so that leaving hides no failure.
struct Work {
    guard: AttemptGuard,
    permit: OwnedSemaphorePermit,
    secret: Vec<u8>,
    hashes: Vec<Arc<SlowHash>>,
    tags: Vec<Option<Tag>>,
}

impl Work {
    fn run(self, verified: &VerifiedSecrets, is_decoy: bool, is_dry_run: bool) -> Option<usize> {
        let Self { mut guard, permit, secret, hashes, tags } = self;
        let found = hashes.iter().position(|hash| hash.verify(&secret)).filter(|_| !is_decoy);
        match found {
            None if !is_dry_run => guard.fail(hashes.len()),
            None => {}
            Some(index) => {
                if let Some(Some(tag)) = tags.get(index) {
                    verified.insert(*tag);
                }
            }
        }
        drop(permit);
        found
    }
}

impl Busy {
    /// Why the client is refused, as it reads it.
    pub(crate) fn refusal(self) -> Refusal {
        match self {
            Self::InFlight => {
                Refusal::new("busy", "too many logins are being verified; try again later")
            }
            Self::Failures => Refusal::new(
                "too_many_failures",
                "too many logins from this address have failed; try again later",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_config::HashFormat;

    /// Of `hunter2`.
    const HASH: &str = "$2b$04$abcdefghijklmnopqrstuuV3duMsC0HpUex6N9qapiuOHHWkwRXVm";

    fn hashes(texts: &[&str]) -> Vec<Arc<SlowHash>> {
        let parse = |text: &&str| Arc::new(SlowHash::parse(HashFormat::Bcrypt, text).unwrap());
        texts.iter().map(parse).collect()
    }

    fn verifier() -> &'static PasswordVerifier {
        Box::leak(Box::new(PasswordVerifier::new()))
    }

    fn attempt<'a>(secret: &'a str, hashes: &'a [Arc<SlowHash>]) -> Attempt<'a> {
        Attempt {
            client: None,
            secret: secret.as_bytes(),
            hashes,
            is_decoy: false,
            is_dry_run: false,
        }
    }

    #[tokio::test]
    async fn right_secret_is_remembered_and_wrong_ones_are_not() {
        let (verifier, hashes) = (verifier(), hashes(&[HASH]));
        let right = attempt("hunter2", &hashes);
        assert_eq!(verifier.verify(attempt("hunter3", &hashes)).await, Verification::Wrong);
        assert_eq!(verifier.verify(right).await, Verification::Right(0));
        // Nothing may run any more: only what is remembered can be right.
        verifier.running.close();
        assert_eq!(verifier.verify(right).await, Verification::Right(0));
        let wrong = verifier.verify(attempt("hunter3", &hashes)).await;
        assert_eq!(wrong, Verification::Busy(Busy::InFlight));
    }

    #[tokio::test]
    async fn decoy_is_wrong_whatever_the_secret_is() {
        let (verifier, hashes) = (verifier(), hashes(&[HASH]));
        let decoy = Attempt { is_decoy: true, ..attempt("hunter2", &hashes) };
        assert_eq!(verifier.verify(decoy).await, Verification::Wrong);
        assert_eq!(verifier.verify(attempt("hunter2", &hashes)).await, Verification::Right(0));
        assert_eq!(verifier.verify(decoy).await, Verification::Wrong);
    }

    #[tokio::test]
    async fn failures_of_a_client_make_it_wait_and_dry_runs_do_not_count() {
        let (verifier, hashes) = (verifier(), hashes(&[HASH]));
        let client = |last: u8| Some(IpAddr::from([192, 0, 2, last]));
        let wrong = attempt("hunter3", &hashes);
        for _ in 0..30 {
            let dry = Attempt { client: client(1), is_dry_run: true, ..wrong };
            assert_eq!(verifier.verify(dry).await, Verification::Wrong);
        }
        let mut verdicts = Vec::new();
        for _ in 0..30 {
            verdicts.push(verifier.verify(Attempt { client: client(1), ..wrong }).await);
        }
        assert_eq!(verdicts[0], Verification::Wrong);
        assert!(verdicts.contains(&Verification::Busy(Busy::Failures)), "{verdicts:?}");
        let other = Attempt { client: client(2), ..attempt("hunter2", &hashes) };
        assert_eq!(verifier.verify(other).await, Verification::Right(0));
        // What is known to be right is not held up.
        let right = Attempt { client: client(1), ..attempt("hunter2", &hashes) };
        assert_eq!(verifier.verify(right).await, Verification::Right(0));
    }

    #[tokio::test]
    async fn attempt_fails_once_for_each_hash_that_it_costs() {
        let (verifier, hashes) = (verifier(), hashes(&[HASH; 4]));
        let client = Some(IpAddr::from([192, 0, 2, 3]));
        let wrong = Attempt { client, ..attempt("hunter3", &hashes) };
        let mut verdicts = Vec::new();
        for _ in 0..15 {
            verdicts.push(verifier.verify(wrong).await);
        }
        assert!(verdicts.contains(&Verification::Busy(Busy::Failures)), "{verdicts:?}");
    }
}
