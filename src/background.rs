//! Tasks and threads that run as long as the gateway. A panic in one is logged with the task's name and listed by `GET
//! /status`, and a task that can restart does; what the tasks do is not known here.

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

/// The name of a task, in logs and `GET /status`.
type TaskName = Cow<'static, str>;

/// The tasks that have panicked since the process began.
static PANICS: Mutex<BTreeMap<TaskName, TaskPanics>> = Mutex::new(BTreeMap::new());

/// Whether a task is down after a panic; spares [`PANICS`]' lock as long as none is.
static IS_ANY_DOWN: AtomicBool = AtomicBool::new(false);

/// The panics of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TaskPanics {
    /// How often since the process began.
    pub count: u64,
    /// What has become of it since.
    pub state: PanickedTaskState,
    /// What the last panic said.
    pub reason: String,
    last_panic: Instant,
    /// The number of restarting tasks of this name that are down.
    down_tasks: usize,
}

/// Whether a task that has panicked runs again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PanickedTaskState {
    /// It does not run, and should.
    Down,
    /// It runs again.
    Running,
    /// It ended while it was down, because it is not needed any more.
    Stopped,
}

/// A task has panicked. The panic is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskPanicked;

/// The tasks that have panicked, by name.
pub(crate) fn panics() -> Vec<(TaskName, TaskPanics)> {
    lock_panics().iter().map(|(name, panics)| (name.clone(), panics.clone())).collect()
}

/// Runs a task that can't be started again, or one of many of the same name.
pub(crate) fn spawn(
    name: impl Into<TaskName>,
    task: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    let name = name.into();
    tokio::spawn(async move {
        if catch_panic(&name, task).await.is_ok() {
            mark_running(&name);
        }
    })
}

/// Spawns a task and makes it anew whenever it panics.
pub(crate) fn spawn_restarting<F>(
    name: impl Into<TaskName>,
    mut make: impl FnMut() -> F + Send + 'static,
) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let name = name.into();
    tokio::spawn(async move {
        let (mut wait, max) = RESTART_INTERVAL;
        let mut kept = RestartingTask { name: &name, is_down: false };
        loop {
            let mut task = pin!(catch_panic(&name, make()));
            let ended = match timeout(RECOVERY_TIME, &mut task).await {
                Ok(ended) => ended,
                Err(_) => {
                    kept.mark_running();
                    wait = RESTART_INTERVAL.0;
                    task.await
                }
            };
            if ended.is_ok() {
                return;
            }
            kept.mark_down();
            sleep(wait).await;
            wait = (wait * 2).min(max);
        }
    })
}

/// A task that is restarted after a panic. When it ends or is aborted, it no longer counts as down.
struct RestartingTask<'n> {
    name: &'n str,
    is_down: bool,
}

impl RestartingTask<'_> {
    fn mark_down(&mut self) {
        if !std::mem::replace(&mut self.is_down, true)
            && let Some(panics) = lock_panics().get_mut(self.name)
        {
            panics.down_tasks += 1;
        }
    }

    fn mark_running(&mut self) {
        if std::mem::take(&mut self.is_down) {
            self.leave_down_state(PanickedTaskState::Running);
        }
    }

    fn leave_down_state(&self, state: PanickedTaskState) {
        let mut all = lock_panics();
        if let Some(panics) = all.get_mut(self.name) {
            panics.down_tasks = panics.down_tasks.saturating_sub(1);
            if panics.down_tasks == 0 {
                panics.set_state(self.name, state);
            }
        }
        update_is_any_down(&all);
    }
}

impl Drop for RestartingTask<'_> {
    fn drop(&mut self) {
        if self.is_down {
            self.leave_down_state(PanickedTaskState::Stopped);
        }
    }
}

impl TaskPanics {
    fn set_state(&mut self, name: &str, state: PanickedTaskState) {
        if state == PanickedTaskState::Running && self.state != PanickedTaskState::Running {
            log::info!("the background task `{name}` runs again after its panic");
        }
        self.state = state;
    }
}

/// Does something on a thread that may wait for files.
///
/// # Errors
/// When it panics, or the runtime ends before it has begun.
pub(crate) async fn run_blocking<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, TaskPanicked> {
    let work = move || catch_unwind(AssertUnwindSafe(work)).map_err(|panic| report(name, &*panic));
    let done = tokio::task::spawn_blocking(work).await.unwrap_or(Err(TaskPanicked));
    if done.is_ok() {
        mark_running(name);
    }
    done
}

/// Runs the work on this thread, again after each panic, until it ends without one.
pub(crate) fn run_restarting(name: &str, mut work: impl FnMut()) {
    let (min, max) = RESTART_INTERVAL;
    let (mut wait, mut began) = (min, Instant::now());
    while let Err(panic) = catch_unwind(AssertUnwindSafe(&mut work)) {
        report(name, &*panic);
        if began.elapsed() >= RECOVERY_TIME {
            wait = min;
        }
        std::thread::sleep(wait);
        wait = (wait * 2).min(max);
        began = Instant::now();
        mark_running(name);
    }
}

/// Runs a task and turns its panic into an error.
pub(crate) async fn catch_panic<T>(
    name: &str,
    task: impl Future<Output = T>,
) -> Result<T, TaskPanicked> {
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
pub(crate) fn mark_running(name: &str) {
    if !IS_ANY_DOWN.load(Ordering::Relaxed) {
        return;
    }
    let mut all = lock_panics();
    if let Some(panics) = all.get_mut(name) {
        panics.set_state(name, PanickedTaskState::Running);
    }
    update_is_any_down(&all);
}

fn update_is_any_down(all: &BTreeMap<TaskName, TaskPanics>) {
    let is_any = all.values().any(|panics| panics.state == PanickedTaskState::Down);
    IS_ANY_DOWN.store(is_any, Ordering::Relaxed);
}

fn report(name: &str, panic: &(dyn Any + Send)) -> TaskPanicked {
    let reason = panic
        .downcast_ref::<&str>()
        .map(|reason| (*reason).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "the panic has no message".to_owned());
    let mut all = lock_panics();
    let before = all.get(name);
    let count = before.map_or(0, |panics| panics.count).saturating_add(1);
    // One that panics again and again must not fill the log.
    if before.is_none_or(|panics| panics.last_panic.elapsed() >= PANIC_LOG_INTERVAL) {
        log::error!("the background task `{name}` panicked: {reason}; please report this bug");
    }
    let kept_down = before.map_or(0, |panics| panics.down_tasks);
    let (state, last) = (PanickedTaskState::Down, Instant::now());
    all.insert(
        name.to_owned().into(),
        TaskPanics { count, state, reason, last_panic: last, down_tasks: kept_down },
    );
    IS_ANY_DOWN.store(true, Ordering::Relaxed);
    TaskPanicked
}

fn lock_panics() -> MutexGuard<'static, BTreeMap<TaskName, TaskPanics>> {
    PANICS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;

    fn panics_of_task(name: &str) -> Option<TaskPanics> {
        panics().into_iter().find(|(other, _)| *other == name).map(|(_, panics)| panics)
    }

    #[tokio::test(start_paused = true)]
    async fn panicked_task_is_listed_and_restarted() {
        let started = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&started);
        let task = spawn_restarting("kept", move || {
            let number = count.fetch_add(1, Ordering::Relaxed);
            async move {
                assert!(number > 1, "number {number}");
                std::future::pending().await
            }
        });
        while started.load(Ordering::Relaxed) < 3 {
            sleep(Duration::from_millis(100)).await;
        }
        let panics = panics_of_task("kept").expect("listed");
        assert_eq!((panics.count, &*panics.reason), (2, "number 1"));
        assert_eq!(panics.state, PanickedTaskState::Down, "not for long enough");
        sleep(RECOVERY_TIME * 2).await;
        assert!(
            panics_of_task("kept").is_some_and(|panics| panics.state == PanickedTaskState::Running)
        );
        task.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn aborted_task_is_no_longer_listed_as_down() {
        let down = || spawn_restarting("aborted", || async { panic!("over") });
        let (first, second) = (down(), down());
        let state = || panics_of_task("aborted").map(|panics| panics.state);
        while panics_of_task("aborted").is_none_or(|panics| panics.down_tasks < 2) {
            sleep(Duration::from_millis(100)).await;
        }
        first.abort();
        assert!(first.await.is_err_and(|error| error.is_cancelled()));
        assert_eq!(state(), Some(PanickedTaskState::Down), "the other one is");
        second.abort();
        assert!(second.await.is_err_and(|error| error.is_cancelled()));
        assert_eq!(state(), Some(PanickedTaskState::Stopped));
        let next = spawn_restarting("aborted", std::future::pending);
        sleep(RECOVERY_TIME * 2).await;
        assert_eq!(state(), Some(PanickedTaskState::Stopped), "it has not panicked");
        next.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn task_that_ends_after_a_panic_is_listed_as_stopped() {
        let mut is_first = true;
        let task = spawn_restarting("ending", move || {
            let panics = std::mem::take(&mut is_first);
            async move { assert!(!panics, "the first") }
        });
        task.await.expect("it ends");
        assert_eq!(
            panics_of_task("ending").map(|panics| panics.state),
            Some(PanickedTaskState::Stopped)
        );
    }

    #[tokio::test]
    async fn panicked_task_without_restart_is_listed_as_down() {
        spawn("spawned", async { panic!("over") }).await.expect("the task itself ends");
        let panics = panics_of_task("spawned").expect("listed");
        assert_eq!((panics.count, panics.state), (1, PanickedTaskState::Down));
        spawn("spawned", async {}).await.expect("the next of this name");
        assert!(
            panics_of_task("spawned")
                .is_some_and(|panics| panics.state == PanickedTaskState::Running)
        );
    }

    #[tokio::test]
    async fn panicked_blocking_work_is_listed_until_it_succeeds() {
        let work = run_blocking("blocking", || -> u32 { panic!("over {}", 1) }).await;
        assert_eq!(work, Err(TaskPanicked));
        let panics = panics_of_task("blocking").expect("listed");
        assert_eq!((&*panics.reason, panics.state), ("over 1", PanickedTaskState::Down));
        assert_eq!(run_blocking("blocking", || 7).await, Ok(7));
        assert!(
            panics_of_task("blocking")
                .is_some_and(|panics| panics.state == PanickedTaskState::Running)
        );
    }

    #[test]
    fn panicked_thread_is_restarted() {
        let mut rounds = 0;
        run_restarting("thread", || {
            rounds += 1;
            assert!(rounds > 1, "the first");
        });
        assert_eq!(rounds, 2);
        let panics = panics_of_task("thread").expect("listed");
        assert_eq!((panics.count, panics.state), (1, PanickedTaskState::Running));
    }
}
