//! Watches the configuration files and other inputs, and decides when another version is applied. Applies none itself;
//! `apply` does.

use super::apply::{Applier, ApplyReason, files};
use super::guard::CHECK_INTERVAL;
use super::settled_files::{FileFingerprints, SettledFiles};
use crate::background::{self, TaskPanicked};
use crate::history::{Order, VersionCause, VersionFiles};
use crate::snapshot::FileFingerprint;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tidegate_config::{self as config, LoadedConfig, Problems, Sources};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, timeout};

/// Time between two checks of the files.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Maximum time to read the files. A file system that does not respond must not delay rollbacks and the guard.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Time between two resolutions of names.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(30);

/// Time between two checks for expiring certificates.
const WARN_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// The name of the task that watches the configuration, in `GET /status`.
const TASK_NAME: &str = "configuration";

/// Wait before the task restarts after a panic.
const PANIC_RESTART_INTERVAL: Duration = Duration::from_secs(1);

/// Watches the inputs of the configuration, and has each valid version applied.
pub(super) struct ConfigWatcher {
    applier: Applier,
    /// The files of the last version that was read, valid or not.
    sources: Arc<Sources>,
    /// Their problems as text; empty if there are none.
    problems: String,
    /// Whether a rollback has replaced them: only an edit, a SIGHUP or a restart applies them
    /// again.
    is_rolled_back: bool,
    settled_files: SettledFiles,
    /// A check of the files that is still running.
    file_check: Option<FileCheck>,
    /// When names were resolved and certificates checked.
    last_resolved: Instant,
    last_warned: Instant,
}

type FileCheck = JoinHandle<Result<FileFingerprints, TaskPanicked>>;

/// The timers of the task.
struct ReloadTimers {
    polls: Interval,
    checks: Interval,
}

impl ConfigWatcher {
    pub(super) fn new(applier: Applier) -> Self {
        let sources = Arc::new(applier.read.sources.clone());
        // Edits since the file was read show at the first check.
        let settled_files = SettledFiles::default();
        Self {
            applier,
            sources,
            problems: String::new(),
            is_rolled_back: false,
            settled_files,
            file_check: None,
            last_resolved: Instant::now(),
            last_warned: Instant::now(),
        }
    }

    /// Watches until the sender of `orders` is gone. `discovered` is notified when DNS differs from what is in
    /// force.
    pub(super) async fn run(
        mut self,
        mut orders: mpsc::Receiver<Order>,
        mut discovered: watch::Receiver<u64>,
    ) {
        let mut clocks =
            ReloadTimers { polls: interval(POLL_INTERVAL), checks: interval(CHECK_INTERVAL) };
        clocks.polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        clocks.checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let turn = self.handle_next(&mut orders, &mut discovered, &mut clocks);
            match background::catch_panic(TASK_NAME, turn).await {
                Ok(true) => background::mark_running(TASK_NAME),
                Ok(false) => return,
                // The files are watched anyway.
                Err(TaskPanicked) => sleep(PANIC_RESTART_INTERVAL).await,
            }
        }
    }

    /// Waits for the next event and handles it; returns whether more can follow.
    async fn handle_next(
        &mut self,
        orders: &mut mpsc::Receiver<Order>,
        discovered: &mut watch::Receiver<u64>,
        clocks: &mut ReloadTimers,
    ) -> bool {
        tokio::select! {
            _ = clocks.polls.tick(), if self.applier.file.is_some() && self.file_check.is_none() => {
                self.file_check = Some(self.spawn_file_check());
            }
            seen = file_check_result(&mut self.file_check) => {
                self.file_check = None;
                match seen {
                    Some(seen) => self.reload_if_settled(seen).await,
                    // It is already logged, and must not be logged every time.
                    None => clocks.polls.reset_after(PANIC_RESTART_INTERVAL),
                }
            }
            _ = clocks.checks.tick() => self.roll_back_if_worse().await,
            order = orders.recv() => match order {
                None => return false,
                Some(Order::Reload(reply)) => {
                    let _ = reply.send(self.reload().await);
                }
                Some(Order::Rollback(to, reply)) => {
                    let _ = reply.send(self.roll_back_to(to, VersionCause::Rollback).await);
                }
            },
            changed = discovered.changed() => {
                if changed.is_ok() {
                    let read = self.applier.read.clone();
                    let _ = self.applier.apply(read, ApplyReason::Discovered).await;
                }
            }
        }
        if self.last_warned.elapsed() >= WARN_INTERVAL {
            self.last_warned = Instant::now();
            self.applier.state.current.load().warn();
        }
        if self.last_resolved.elapsed() >= RESOLVE_INTERVAL {
            self.last_resolved = Instant::now();
            let pools: Vec<_> = self.applier.state.current.load().pools.values().cloned().collect();
            background::spawn("names of upstreams", async move {
                for pool in pools {
                    pool.resolve().await;
                }
            });
        }
        true
    }

    /// Reads and applies an edit, once the files are settled.
    async fn reload_if_settled(&mut self, seen: FileFingerprints) {
        if !self.settled_files.take_settled_edit(&seen) {
            return;
        }
        // A later write changes the fingerprint, and causes another check.
        match self.read_files_again().await {
            Ok(read) => {
                // An unreadable file has no text.
                let is_edit = in_words(&read.problems) != self.problems
                    || texts(&files(&read.sources)) != texts(&files(&self.sources));
                // A refused version may be complete with the new files.
                let is_retry = self.other_files_changed(&seen)
                    && !self.is_rolled_back
                    && read.problems.is_empty();
                if (is_edit || is_retry) && self.apply_edit(read).await.is_ok() {
                    self.settled_files.mark_applied(seen);
                    return;
                }
                self.apply_other_files(&seen).await;
            }
            Err(reason) => log::error!(
                "configuration not reloaded; the running version stays in force: {reason}"
            ),
        }
        self.settled_files.mark_applied(seen);
    }

    /// Reads the files again and applies them, edited or not.
    async fn reload(&mut self) -> Result<String, String> {
        // First, because a write during the read is another edit.
        let mut seen = FileFingerprints::default();
        if let Ok(Ok(Ok(stamps))) = timeout(READ_TIMEOUT, self.spawn_file_check()).await {
            seen.clone_from(&stamps);
            self.settled_files.mark_applied(stamps);
        }
        let read = self.read_files_again().await?;
        let outcome = self.apply_edit(read).await;
        if outcome.is_err() {
            self.apply_other_files(&seen).await;
        }
        outcome
    }

    /// Whether a file that the configuration in force names, such as a certificate, is another one.
    fn other_files_changed(&self, seen: &FileFingerprints) -> bool {
        let current = self.applier.state.current.load_full();
        current.files.iter().any(|(path, stamp)| seen.get(path).is_some_and(|it| it != stamp))
    }

    /// Reads the changed files beside a configuration that is in force while its own file says something
    /// else: what is there was refused, or left by a rollback.
    async fn apply_other_files(&mut self, seen: &FileFingerprints) {
        let is_other = !self.problems.is_empty()
            || texts(&files(&self.sources)) != texts(&files(&self.applier.read.sources));
        if is_other && self.other_files_changed(seen) {
            let read = self.applier.read.clone();
            let _ = self.applier.apply(read, ApplyReason::Beside).await;
        }
    }

    async fn apply_edit(&mut self, read: LoadedConfig) -> Result<String, String> {
        self.sources = Arc::new(read.sources.clone());
        self.problems = in_words(&read.problems);
        self.is_rolled_back = false;
        self.applier.apply(read, ApplyReason::Version(VersionCause::Edit)).await
    }

    /// Goes back when an edit has made things worse.
    async fn roll_back_if_worse(&mut self) {
        let current = self.applier.state.current.load_full();
        let Some((to, because)) = self.applier.rollback_monitor.check_trial(&current) else {
            return;
        };
        log::error!(
            "reload.guard: version {} causes more errors than version {to}: {because}; the \
             gateway rolls back. The configuration file still contains the rejected edit: \
             correct it before another edit, SIGHUP or restart applies it again",
            current.number
        );
        let cause = |to| VersionCause::Guard { to, because };
        if let Err(reason) = self.roll_back_to(Some(to), cause).await {
            log::error!(
                "reload.guard: the rollback failed, version {} stays in force: {reason}",
                current.number
            );
        }
    }

    async fn roll_back_to(
        &mut self,
        to: Option<u64>,
        cause: impl FnOnce(u64) -> VersionCause,
    ) -> Result<String, String> {
        let version = self.applier.state.history.find(to)?;
        let nothing = config::Variables::default();
        let variables = self.applier.file.as_ref().map_or(&nothing, |(_, variables)| variables);
        let read = config::read_stored(&version.files, variables, self.applier.filters.schemas());
        self.applier.rollback_monitor.end_trial();
        let summary = self.applier.apply(read, ApplyReason::Version(cause(version.number))).await?;
        self.is_rolled_back = true;
        Ok(format!("rolled back to the configuration of version {}: {summary}", version.number))
    }

    /// Reads the files, on a thread that may wait for a file system that does not answer.
    async fn read_files_again(&self) -> Result<LoadedConfig, String> {
        let Some((path, variables)) = self.applier.file.clone() else {
            return Err("the configuration was made in code and has no file to read".to_owned());
        };
        let shown = path.display().to_string();
        let filters = Arc::clone(&self.applier.filters);
        let reading = background::run_blocking("read", move || {
            config::read_with(&path, &variables, filters.schemas())
        });
        match timeout(READ_TIMEOUT, reading).await {
            Ok(Ok(read)) => Ok(read),
            Ok(Err(TaskPanicked)) => Err(format!(
                "the gateway panicked while it read {shown}; the gateway's log has the reason"
            )),
            Err(_) => Err(format!(
                "{shown} and the files that it includes could not be read within {READ_TIMEOUT:?}"
            )),
        }
    }

    /// Looks at the files, on such a thread as well.
    fn spawn_file_check(&self) -> FileCheck {
        let (sources, current) =
            (Arc::clone(&self.sources), self.applier.state.current.load_full());
        tokio::spawn(background::run_blocking("watch", move || {
            let mut paths: BTreeSet<PathBuf> = sources.watched();
            paths.extend(current.files.keys().cloned());
            paths
                .into_iter()
                .map(|path| (path.clone(), FileFingerprint::from_path(&path)))
                .collect()
        }))
    }
}

/// The result of the running check; never resolves while no check runs.
async fn file_check_result(running_check: &mut Option<FileCheck>) -> Option<FileFingerprints> {
    match running_check {
        Some(check) => check.await.ok()?.ok(),
        None => std::future::pending().await,
    }
}

/// The problems as text; empty if there are none.
fn in_words(problems: &Problems) -> String {
    if problems.is_empty() { String::new() } else { problems.to_string() }
}

/// The texts by path, independent of the order of includes.
fn texts(files: &VersionFiles) -> BTreeMap<&PathBuf, &String> {
    files.iter().map(|(path, text)| (path, text)).collect()
}
