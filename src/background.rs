//! Tasks and threads that run as long as the gateway does. A panic in one is logged with the task's name,
//! and `GET /status` lists it; what can run again does.

use std::any::Any;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Wait before a task that panicked is restarted: after the first panic, and at most. It doubles with each panic.
const RESTART_INTERVAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A task that has run for this long since its last panic counts as running again.
const RECOVERY_TIME: Duration = Duration::from_secs(10);

/// Minimum time between two log lines about panics of one task.
const PANIC_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// What a task is called.
type Name = Cow<'static, str>;

/// The tasks that have panicked since the process began.
static PANICS: Mutex<BTreeMap<Name, Panics>> = Mutex::new(BTreeMap::new());

/// Whether a task is down after a panic; spares [`PANICS`]' lock as long as none is.
static IS_ANY_DOWN: AtomicBool = AtomicBool::new(false);

/// How often a task has panicked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Panics {
    /// How often since the process began.
    pub count: u64,
    /// What has become of it since.
    pub state: State,
    /// What the last panic said.
    pub reason: String,
    last: Instant,
    /// How many of the kept tasks of this name are down.
    kept_down: usize,
}

/// What a task that has panicked does by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It does not run, and should.
    Down,
    /// It runs again.
    Running,
    /// It ended while it was down, because it is not needed any more.
    Stopped,
}

/// A task has panicked, which was logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Panicked;

/// The tasks that have panicked, by name.
pub(crate) fn panics() -> Vec<(Name, Panics)> {
    all().iter().map(|(name, panics)| (name.clone(), panics.clone())).collect()
}

/// Runs a task that can't be started again, or one of many of the same name.
pub(crate) fn spawn(
    name: impl Into<Name>,
    task: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    let name = name.into();
    tokio::spawn(async move {
        if guard(&name, task).await.is_ok() {
            runs(&name);
        }
    })
}

/// Runs a task, and makes it anew whenever it panics.
pub(crate) fn keep<F>(
    name: impl Into<Name>,
    mut make: impl FnMut() -> F + Send + 'static,
) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let name = name.into();
    tokio::spawn(async move {
        let (mut wait, most) = RESTART_INTERVAL;
        let mut kept = Kept { name: &name, is_down: false };
        loop {
            let mut task = pin!(guard(&name, make()));
            let ended = match timeout(RECOVERY_TIME, &mut task).await {
                Ok(ended) => ended,
                Err(_) => {
                    kept.runs();
                    wait = RESTART_INTERVAL.0;
                    task.await
                }
            };
            if ended.is_ok() {
                return;
            }
            kept.panicked();
            sleep(wait).await;
            wait = (wait * 2).min(most);
        }
    })
}

/// One of the tasks that run again after a panic. When it is aborted, or ends, it does not stay down in the
/// list forever.
struct Kept<'n> {
    name: &'n str,
    is_down: bool,
}

impl Kept<'_> {
    fn panicked(&mut self) {
        if !std::mem::replace(&mut self.is_down, true)
            && let Some(panics) = all().get_mut(self.name)
        {
            panics.kept_down += 1;
        }
    }

    fn runs(&mut self) {
        if std::mem::take(&mut self.is_down) {
            self.leave(State::Running);
        }
    }

    fn leave(&self, state: State) {
        let mut all = all();
        if let Some(panics) = all.get_mut(self.name) {
            panics.kept_down = panics.kept_down.saturating_sub(1);
            if panics.kept_down == 0 {
                panics.comes_to(self.name, state);
            }
        }
        look_for_down(&all);
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        if self.is_down {
            self.leave(State::Stopped);
        }
    }
}

impl Panics {
    fn comes_to(&mut self, name: &str, state: State) {
        if state == State::Running && self.state != State::Running {
            log::info!("the task `{name}` runs again");
        }
        self.state = state;
    }
}

/// Does something on a thread that may wait for files.
///
/// # Errors
/// When it panics, or the runtime ends before it has begun.
pub(crate) async fn blocking<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Panicked> {
    let work = move || catch_unwind(AssertUnwindSafe(work)).map_err(|panic| report(name, &*panic));
    let done = tokio::task::spawn_blocking(work).await.unwrap_or(Err(Panicked));
    if done.is_ok() {
        runs(name);
    }
    done
}

/// Runs on this thread until it ends without a panic.
pub(crate) fn keep_on_thread(name: &str, mut work: impl FnMut()) {
    let (least, most) = RESTART_INTERVAL;
    let (mut wait, mut began) = (least, Instant::now());
    while let Err(panic) = catch_unwind(AssertUnwindSafe(&mut work)) {
        report(name, &*panic);
        if began.elapsed() >= RECOVERY_TIME {
            wait = least;
        }
        std::thread::sleep(wait);
        wait = (wait * 2).min(most);
        began = Instant::now();
        runs(name);
    }
}

/// Lets a panic in a task be its result.
pub(crate) async fn guard<T>(name: &str, task: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut task = pin!(task);
    // After a panic it is dropped, and never polled again.
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
        Err(panic) => Poll::Ready(Err(report(name, &*panic))),
    })
    .await
}

/// The task does what it is for, whatever was before.
pub(crate) fn runs(name: &str) {
    if !IS_ANY_DOWN.load(Ordering::Relaxed) {
        return;
    }
    let mut all = all();
    if let Some(panics) = all.get_mut(name) {
        panics.comes_to(name, State::Running);
    }
    look_for_down(&all);
}

fn look_for_down(all: &BTreeMap<Name, Panics>) {
    let is_any = all.values().any(|panics| panics.state == State::Down);
    IS_ANY_DOWN.store(is_any, Ordering::Relaxed);
}

fn report(name: &str, panic: &(dyn Any + Send)) -> Panicked {
    let reason = panic
        .downcast_ref::<&str>()
        .map(|reason| (*reason).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it left no message".to_owned());
    let mut all = all();
    let before = all.get(name);
    let count = before.map_or(0, |panics| panics.count).saturating_add(1);
    // One that panics again and again must not fill the log.
    if before.is_none_or(|panics| panics.last.elapsed() >= PANIC_LOG_INTERVAL) {
        log::error!("the task `{name}` panicked: {reason}; please report this fault");
    }
    let kept_down = before.map_or(0, |panics| panics.kept_down);
    let (state, last) = (State::Down, Instant::now());
    all.insert(name.to_owned().into(), Panics { count, state, reason, last, kept_down });
    IS_ANY_DOWN.store(true, Ordering::Relaxed);
    Panicked
}

fn all() -> MutexGuard<'static, BTreeMap<Name, Panics>> {
    PANICS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;

    fn panics_of_task(name: &str) -> Option<Panics> {
        panics().into_iter().find(|(other, _)| *other == name).map(|(_, panics)| panics)
    }

    #[tokio::test(start_paused = true)]
    async fn panicked_task_is_listed_and_restarted() {
        let begun = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&begun);
        let task = keep("kept", move || {
            let number = count.fetch_add(1, Ordering::Relaxed);
            async move {
                assert!(number > 1, "number {number}");
                std::future::pending().await
            }
        });
        while begun.load(Ordering::Relaxed) < 3 {
            sleep(Duration::from_millis(100)).await;
        }
        let panics = panics_of_task("kept").expect("listed");
        assert_eq!((panics.count, &*panics.reason), (2, "number 1"));
        assert_eq!(panics.state, State::Down, "not for long enough");
        sleep(RECOVERY_TIME * 2).await;
        assert!(panics_of_task("kept").is_some_and(|panics| panics.state == State::Running));
        task.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn aborted_task_is_no_longer_listed_as_down() {
        let down = || keep("aborted", || async { panic!("over") });
        let (first, second) = (down(), down());
        let state = || panics_of_task("aborted").map(|panics| panics.state);
        while panics_of_task("aborted").is_none_or(|panics| panics.kept_down < 2) {
            sleep(Duration::from_millis(100)).await;
        }
        first.abort();
        assert!(first.await.is_err_and(|error| error.is_cancelled()));
        assert_eq!(state(), Some(State::Down), "the other one is");
        second.abort();
        assert!(second.await.is_err_and(|error| error.is_cancelled()));
        assert_eq!(state(), Some(State::Stopped));
        let next = keep("aborted", std::future::pending);
        sleep(RECOVERY_TIME * 2).await;
        assert_eq!(state(), Some(State::Stopped), "it has not panicked");
        next.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn task_that_ends_after_a_panic_is_listed_as_stopped() {
        let mut is_first = true;
        let task = keep("ending", move || {
            let panics = std::mem::take(&mut is_first);
            async move { assert!(!panics, "the first") }
        });
        task.await.expect("it ends");
        assert_eq!(panics_of_task("ending").map(|panics| panics.state), Some(State::Stopped));
    }

    #[tokio::test]
    async fn panicked_task_without_restart_is_listed_as_down() {
        spawn("spawned", async { panic!("over") }).await.expect("the task itself ends");
        let panics = panics_of_task("spawned").expect("listed");
        assert_eq!((panics.count, panics.state), (1, State::Down));
        spawn("spawned", async {}).await.expect("the next of this name");
        assert!(panics_of_task("spawned").is_some_and(|panics| panics.state == State::Running));
    }

    #[tokio::test]
    async fn panicked_blocking_work_is_listed_until_it_succeeds() {
        let work = blocking("blocking", || -> u32 { panic!("over {}", 1) }).await;
        assert_eq!(work, Err(Panicked));
        let panics = panics_of_task("blocking").expect("listed");
        assert_eq!((&*panics.reason, panics.state), ("over 1", State::Down));
        assert_eq!(blocking("blocking", || 7).await, Ok(7));
        assert!(panics_of_task("blocking").is_some_and(|panics| panics.state == State::Running));
    }

    #[test]
    fn panicked_thread_is_restarted() {
        let mut rounds = 0;
        keep_on_thread("thread", || {
            rounds += 1;
            assert!(rounds > 1, "the first");
        });
        assert_eq!(rounds, 2);
        let panics = panics_of_task("thread").expect("listed");
        assert_eq!((panics.count, panics.state), (1, State::Running));
    }
}
