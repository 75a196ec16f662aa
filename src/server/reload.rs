//! When another configuration is put into force.

use super::apply::{Force, Occasion, files};
use super::guard::{BEAT, Watchman};
use crate::config::{self, Read, Sources};
use crate::generation::Stamp;
use crate::history::{Cause, Files, Order};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often the files are looked at. An edit is applied once two looks in a row saw the same,
/// for a file that is being written must not be applied by half.
const LOOK: Duration = Duration::from_millis(200);

/// How often names are resolved again.
const RESOLVE: Duration = Duration::from_secs(30);

/// How often certificates are looked at for their end.
const WARN: Duration = Duration::from_secs(24 * 60 * 60);

/// Follows what the configuration is made of, and puts each good version into force.
pub(super) struct Watch {
    force: Force,
    watchman: Watchman,
    /// The files of the last version that was looked at, good or not.
    sources: Sources,
    applied: Stamps,
    seen: Stamps,
}

type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

impl Watch {
    pub(super) fn new(force: Force) -> Self {
        let sources = force.read.sources.clone();
        // Whatever was edited since the file was read shows at the first look.
        let (applied, seen) = Default::default();
        Self { force, watchman: Watchman::default(), sources, applied, seen }
    }

    /// Follows until the sender of `orders` is gone. `discovered` is told when DNS says something
    /// else than what is in force.
    pub(super) async fn run(
        mut self,
        mut orders: mpsc::Receiver<Order>,
        mut discovered: watch::Receiver<u64>,
    ) {
        let (mut looks, mut beats) = (interval(LOOK), interval(BEAT));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut resolved = Instant::now();
        let mut warned = Instant::now();
        loop {
            tokio::select! {
                _ = looks.tick(), if self.force.file.is_some() => self.look().await,
                _ = beats.tick() => self.guard().await,
                order = orders.recv() => match order {
                    None => return,
                    Some(Order::Reload(told)) => {
                        let _ = told.send(self.reload().await);
                    }
                    Some(Order::Rollback(to, told)) => {
                        let _ = told.send(self.go_back(to, Cause::Rollback).await);
                    }
                },
                changed = discovered.changed() => {
                    if changed.is_ok() {
                        let read = self.force.read.clone();
                        let _ = self.force.apply(read, Occasion::Discovered).await;
                    }
                }
            }
            if warned.elapsed() >= WARN {
                warned = Instant::now();
                self.force.live.load().warn();
            }
            if resolved.elapsed() >= RESOLVE {
                resolved = Instant::now();
                let pools: Vec<_> = self.force.live.load().pools.values().cloned().collect();
                tokio::spawn(async move {
                    for pool in pools {
                        pool.resolve().await;
                    }
                });
            }
        }
    }

    /// Looks whether a file was edited.
    async fn look(&mut self) {
        let now = self.stamps();
        if now == self.seen && now != self.applied {
            // What is written from here on makes another stamp, and another look.
            if let Some(read) = self.read_again() {
                let live = self.force.live.full();
                let mut beside = live.files.iter();
                if texts(&files(&read.sources)) != texts(&files(&self.sources))
                    || beside.any(|(path, stamp)| now.get(path).is_some_and(|it| it != stamp))
                {
                    let _ = self.edited(read).await;
                }
            }
            self.applied.clone_from(&now);
        }
        self.seen = now;
    }

    /// Reads the files again and applies them, edited or not.
    async fn reload(&mut self) -> Result<String, String> {
        self.applied = self.stamps();
        match self.read_again() {
            Some(read) => self.edited(read).await,
            None => Err("there is no file: the configuration was made in code".to_owned()),
        }
    }

    async fn edited(&mut self, read: Read) -> Result<String, String> {
        self.sources = read.sources.clone();
        let before = self.force.live.full();
        let told = self.force.apply(read, Occasion::Version(Cause::Edit)).await?;
        let live = self.force.live.full();
        if live.number != before.number {
            self.watchman.edited(before, &live);
        }
        Ok(told)
    }

    /// Goes back when an edit has made things worse.
    async fn guard(&mut self) {
        let live = self.force.live.full();
        let Some((to, because)) = self.watchman.look(&live) else { return };
        log::error!(
            "guard: version {} is worse than version {to}: {because}; going back. The file is as \
             it was edited: it takes effect again with the next edit, SIGHUP or restart",
            live.number
        );
        let cause = |to| Cause::Guard { to, because };
        if let Err(reason) = self.go_back(Some(to), cause).await {
            log::error!("guard: version {} stays in force: {reason}", live.number);
        }
    }

    async fn go_back(
        &mut self,
        to: Option<u64>,
        cause: impl FnOnce(u64) -> Cause,
    ) -> Result<String, String> {
        let version = self.force.history.find(to)?;
        let nothing = config::Variables::default();
        let variables = self.force.file.as_ref().map_or(&nothing, |(_, variables)| variables);
        let read = config::read_again(&version.files, variables);
        self.watchman.dismiss();
        self.force.apply(read, Occasion::Version(cause(version.number))).await
    }

    /// `None` when there is no file.
    fn read_again(&self) -> Option<Read> {
        let (path, variables) = self.force.file.as_ref()?;
        Some(config::read_with(path, variables))
    }

    fn stamps(&self) -> Stamps {
        let live = self.force.live.load();
        let mut paths: BTreeSet<PathBuf> = self.sources.watched();
        paths.extend(live.files.keys().cloned());
        paths.into_iter().map(|path| (path.clone(), Stamp::of(&path))).collect()
    }
}

/// Whatever the order in which they are included.
fn texts(files: &Files) -> BTreeMap<&PathBuf, &String> {
    files.iter().map(|(path, text)| (path, text)).collect()
}
