//! Applies a configuration: compiles it, runs its tests, swaps the snapshot, and lets go of what only the old one used.
//! Decides nothing about when.

use super::discover::RESOLVE_TIMEOUT;
use super::guard::RollbackMonitor;
use super::snapshot_tasks;
use crate::background::{self, TaskPanicked};
use crate::explain::{Difference, verify};
use crate::filter::FilterRegistry;
use crate::history::{VersionCause, VersionFiles};
use crate::snapshot::{CompileEnv, SessionPolicies, Snapshot, SnapshotChanges, compile};
use crate::state::State;
use crate::telemetry::{LineSink, log as own_log};
use crate::upstream::Discovery;
use crate::websocket::{End, Initiator, SessionSelector, close_spread};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tidegate_config::{LoadedConfig, ProblemCollector, Problems, Sources, Span, Variables};
use tokio::time::timeout;

/// Maximum time to compile. A file system that does not respond must not block rollbacks and the guard forever.
const COMPILE_TIMEOUT: Duration = Duration::from_secs(60);

/// The snapshot in force, and everything that a new configuration changes.
pub(super) struct Applier {
    /// What is in force, as it was read.
    pub read: LoadedConfig,
    /// Where it was read from, and with what; unless it was made in code.
    pub file: Option<(PathBuf, Variables)>,
    /// What a new configuration touches.
    pub state: State,
    /// The filters that the program brings along.
    pub filters: Arc<FilterRegistry>,
    /// The endpoints that DNS reports.
    pub discovery: Arc<Discovery>,
    /// Watches whether edits make things worse.
    pub rollback_monitor: RollbackMonitor,
}

/// Why a configuration is applied.
pub(super) enum ApplyReason {
    /// It is another version, or the same with other files beside it.
    Version(VersionCause),
    /// The files beside it have changed, while its own file says something else.
    Beside,
    /// DNS says something else than it did.
    Discovered,
}

impl Applier {
    /// Puts a version into force, or says why not. Tells what has changed.
    pub(super) async fn apply(
        &mut self,
        read: LoadedConfig,
        reason: ApplyReason,
    ) -> Result<String, String> {
        let before = self.state.current.load_full();
        let (mut snapshot, changes) = match self.compile(read.clone()).await {
            Ok(compiled) => compiled,
            Err(problems) if matches!(reason, ApplyReason::Beside) => {
                log::error!(
                    "cannot apply the changed files that the configuration names, such as \
                     certificates; their previous content stays in use:\n{problems}"
                );
                return Err(problems.to_string());
            }
            Err(problems) => {
                self.state.history.record_refused(problems.to_string());
                log::error!(
                    "configuration not reloaded; the running version stays in force:\n{problems}"
                );
                return Err(problems.to_string());
            }
        };
        let is_edit = matches!(reason, ApplyReason::Version(_));
        let (what, snapshot) = match reason {
            ApplyReason::Discovered => {
                snapshot.number = before.number;
                ("endpoints updated from DNS".to_owned(), snapshot)
            }
            ApplyReason::Beside => {
                snapshot.number = before.number;
                let what = "the files that the configuration names were reloaded, the \
                            configuration file itself was not";
                (what.to_owned(), snapshot)
            }
            ApplyReason::Version(cause) => {
                let what = match &cause {
                    VersionCause::Start | VersionCause::Edit => "configuration reloaded".to_owned(),
                    VersionCause::Rollback(to) => {
                        format!("rolled back to the configuration of version {to}")
                    }
                    VersionCause::Guard { to, .. } => {
                        format!("reload.guard: rolled back to the configuration of version {to}")
                    }
                };
                let is_edit = cause == VersionCause::Edit;
                match self.record_version(Arc::clone(&before), snapshot, &read, cause).await {
                    Some(snapshot) => {
                        // First, for what fails from the swap on is the edit's.
                        if is_edit && snapshot.number != before.number {
                            self.rollback_monitor.start_trial(before, &snapshot);
                        }
                        (what, snapshot)
                    }
                    None => {
                        let reason = "the gateway panicked while it compared the new \
                                      configuration with the version in force; the gateway's log \
                                      has the reason";
                        self.state.history.record_refused(reason.to_owned());
                        return Err(reason.to_owned());
                    }
                }
            }
        };
        let number = snapshot.number;
        self.swap(snapshot);
        if is_edit {
            // Who is told of it finds it in force.
            self.state.history.record_applied();
        }
        self.read = read;
        let summary = match self.touch_sessions() {
            None => format!("version {number} is in force, {changes}"),
            Some(affected) => format!("version {number} is in force, {changes}; {affected}"),
        };
        log::info!("{what}: {summary}");
        for key in self.state.current.restart_needed() {
            log::warn!(
                "the new value of `{key}` takes effect only after a restart; the rest of the new \
                 configuration is in force"
            );
        }
        Ok(summary)
    }

    /// With the number of its version, which is a new one unless nothing was written otherwise.
    async fn record_version(
        &self,
        before: Arc<Snapshot>,
        mut after: Snapshot,
        read: &LoadedConfig,
        cause: VersionCause,
    ) -> Option<Snapshot> {
        let files = files(&read.sources);
        if cause == VersionCause::Edit && files == self::files(&self.read.sources) {
            after.number = before.number;
            return Some(after);
        }
        let history = Arc::clone(&self.state.history);
        // Comparing takes a while where there are many routes, and requests are not to wait.
        let kept = background::run_blocking("compare", move || {
            let difference = Difference::between(&before, &after);
            after.number = history.add(cause, difference, files);
            after
        });
        kept.await.ok()
    }

    fn swap(&self, mut snapshot: Snapshot) {
        own_log::start_logging(snapshot.log.0, snapshot.log.1);
        self.keep_listeners(&mut snapshot);
        snapshot.warn();
        snapshot.warn_of_empty_files(Some(&self.state.current.load_full()));
        snapshot_tasks::start(&mut snapshot, &self.state.sessions);
        snapshot.probing.release();
        self.state.cache.apply(snapshot.cache);
        self.discovery.set_queries(&snapshot.dns_queries);
        self.state.current.swap(snapshot);
    }

    /// A listener that is no longer written is bound until the restart, and goes on as it was:
    /// with its TLS, above all.
    fn keep_listeners(&self, snapshot: &mut Snapshot) {
        let before = self.state.current.load();
        for address in &self.state.current.startup_in_force().listeners {
            if snapshot.listener(address).is_none()
                && let Some(listener) = before.listener(address)
            {
                snapshot.listeners.push(Arc::clone(listener));
            }
        }
    }

    /// Applies `websocket.on_change` of their routes to live sessions; returns the number of affected ones.
    fn touch_sessions(&self) -> Option<String> {
        let current = self.state.current.load();
        let dismissed =
            self.state.sessions.close_dismissed(|identity| current.still_admits(identity));
        if dismissed > 0 {
            log::info!(
                "{dismissed} WebSocket sessions end: their API keys or users have left the files of \
                 `authentication`, or have lost rights"
            );
        }
        let sessions = self.state.sessions.select(&SessionSelector::default());
        let affected = SessionPolicies::from_snapshot(&current).affected(sessions);
        if affected.is_empty() {
            return None;
        }
        let summary = affected.to_string();
        let reason = "the gateway's configuration has changed";
        let request = End::new(Initiator::Reload, current.drain.code, reason);
        for session in affected.closed {
            session.request_close(request.clone());
        }
        let closing = close_spread(affected.drained, request, current.drain.spread);
        background::spawn("closing sessions", closing);
        Some(summary)
    }

    async fn compile(&self, read: LoadedConfig) -> Result<(Snapshot, SnapshotChanges), Problems> {
        let mut compiled = self.compile_once(read.clone()).await?;
        let asked = self.state.current.load().dns_queries.clone();
        if !compiled.0.dns_queries.is_subset(&asked) {
            // A new upstream is not to begin with nothing.
            self.discovery.set_queries(&asked.union(&compiled.0.dns_queries).cloned().collect());
            let _ = timeout(RESOLVE_TIMEOUT, self.discovery.wait_until_all_answered()).await;
            compiled = self.compile_once(read).await?;
        }
        let resolve_all = async {
            for pool in compiled.0.pools.values() {
                pool.resolve().await;
            }
        };
        let _ = timeout(RESOLVE_TIMEOUT, resolve_all).await;
        Ok(compiled)
    }

    async fn compile_once(
        &self,
        read: LoadedConfig,
    ) -> Result<(Snapshot, SnapshotChanges), Problems> {
        let (current, discovery) = (Arc::clone(&self.state.current), Arc::clone(&self.discovery));
        let filters = Arc::clone(&self.filters);
        let compiled = background::run_blocking("compile", move || {
            let previous = current.load();
            let env = CompileEnv {
                previous: Some(&previous),
                discovery: Some(&discovery),
                filters: &filters,
                open_sink: |target| LineSink::open(target).map(Some),
            };
            let (tests, sources) = (read.config.tests.clone(), read.sources.clone());
            let snapshot = compile(read, &env)?;
            verify(&snapshot, &tests, sources)?;
            let changes = SnapshotChanges::between(&previous, &snapshot);
            Ok((snapshot, changes))
        });
        let reason = match timeout(COMPILE_TIMEOUT, compiled).await {
            Ok(Ok(compiled)) => return compiled,
            Ok(Err(TaskPanicked)) => {
                "the gateway panicked while it compiled the configuration; the gateway's log has \
                 the reason"
                    .to_owned()
            }
            Err(_) => format!(
                "the files that the configuration names could not be read within \
                 {COMPILE_TIMEOUT:?}"
            ),
        };
        let mut problems = ProblemCollector::default();
        problems.add(Span::default(), "", reason);
        Err(problems.into_problems())
    }
}

/// The files that a configuration was read from.
pub(super) fn files(sources: &Sources) -> VersionFiles {
    sources.files().map(|(path, text)| (path.to_owned(), text.to_owned())).collect()
}
