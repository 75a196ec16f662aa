use crate::cache::Cache;
use crate::config::{self, Problems, Read, Sources, Variables};
use crate::explain::verify;
use crate::filter::Filter;
use crate::generation::{Changes, Generation, Live, Plan, Stamp, Surroundings, compile};
use crate::telemetry::{Sink, log as own_log};
use crate::upstream::Discovery;
use crate::websocket::{End, Initiator, Registry, Selector, close_spread};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

/// How often the files are looked at. An edit is applied once two looks in a row saw the same,
/// for a file that is being written must not be applied by half.
const LOOK: Duration = Duration::from_millis(200);

/// How often names are resolved again.
const RESOLVE: Duration = Duration::from_secs(30);

/// How often certificates are looked at for their end.
const WARN: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a new configuration waits for names that it brings.
const RESOLVE_AT_ONCE: Duration = Duration::from_secs(2);

/// Follows what the configuration is made of, and puts each good version into force.
pub struct Watch {
    /// What is in force, as it was read.
    pub read: Read,
    /// Where it was read from, and with what; unless it was made in code.
    pub file: Option<(PathBuf, Variables)>,
    /// What is in force.
    pub live: Arc<Live>,
    /// The library user's filters.
    pub filters: Arc<[Arc<dyn Filter>]>,
    /// The sessions that a reload may touch.
    pub sessions: Arc<Registry>,
    /// The cache.
    pub cache: Arc<Cache>,
    /// What DNS tells of endpoints.
    pub discovery: Arc<Discovery>,
}

type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

impl Watch {
    /// Follows until the sender of `reload` is gone; each message asks for a reload, changed
    /// or not, and is told when it is done. `discovered` is told when DNS says something else
    /// than what is in force.
    pub async fn run(
        mut self,
        mut reload: mpsc::Receiver<oneshot::Sender<()>>,
        mut discovered: watch::Receiver<u64>,
    ) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Of the last version that was looked at, good or not.
        let mut sources = self.read.sources.clone();
        // Whatever was edited since the file was read shows at the first look.
        let mut applied = Stamps::new();
        let mut seen = Stamps::new();
        let mut resolved = Instant::now();
        let mut warned = Instant::now();
        loop {
            tokio::select! {
                _ = looks.tick(), if self.file.is_some() => {
                    let now = self.stamps(&sources);
                    if now == seen && now != applied {
                        // What is written from here on makes another stamp, and another look.
                        if let Some(read) = self.read_again()
                            && (texts(&read.sources) != texts(&sources)
                                || self.live.load().files.iter().any(|(path, stamp)| {
                                    now.get(path).is_some_and(|now| now != stamp)
                                }))
                        {
                            sources = read.sources.clone();
                            self.apply(read, "configuration reloaded").await;
                        }
                        applied.clone_from(&now);
                    }
                    seen = now;
                }
                asked = reload.recv() => {
                    let Some(done) = asked else { return };
                    applied = self.stamps(&sources);
                    if let Some(read) = self.read_again() {
                        sources = read.sources.clone();
                        self.apply(read, "configuration reloaded").await;
                    }
                    let _ = done.send(());
                }
                changed = discovered.changed() => {
                    if changed.is_ok() {
                        self.apply(self.read.clone(), "endpoints discovered").await;
                    }
                }
                () = sleep(RESOLVE), if self.file.is_none() => {}
            }
            if warned.elapsed() >= WARN {
                warned = Instant::now();
                self.live.load().warn();
            }
            if resolved.elapsed() >= RESOLVE {
                resolved = Instant::now();
                let pools: Vec<_> = self.live.load().pools.values().cloned().collect();
                tokio::spawn(async move {
                    for pool in pools {
                        pool.resolve().await;
                    }
                });
            }
        }
    }

    /// `None` when there is no file.
    fn read_again(&self) -> Option<Read> {
        self.file.as_ref().map(|(path, variables)| config::read_with(path, variables))
    }

    fn stamps(&self, sources: &Sources) -> Stamps {
        let live = self.live.load();
        let paths = sources.watched().into_iter().chain(live.files.keys().cloned());
        paths.map(|path| (path.clone(), Stamp::of(&path))).collect()
    }

    /// Puts a version into force, or says why not.
    async fn apply(&mut self, read: Read, what: &str) {
        match self.compile(read.clone()).await {
            Ok(changes) => {
                self.read = read;
                let number = self.live.load().number;
                match self.touch_sessions() {
                    None => log::info!("{what}: generation {number}, {changes}"),
                    Some(affected) => {
                        log::info!("{what}: generation {number}, {changes}; {affected}");
                    }
                }
                for key in changes.needs_restart() {
                    log::warn!(
                        "`{key}` has changed, which takes effect only after a restart; the rest \
                         of the configuration is in force"
                    );
                }
            }
            Err(problems) => log::error!(
                "configuration not reloaded, the running one stays in force:\n{problems}"
            ),
        }
    }

    /// Does with live sessions what their routes say; tells how many are affected.
    fn touch_sessions(&self) -> Option<String> {
        let live = self.live.load();
        let sessions = self.sessions.select(&Selector::default());
        let affected = Plan::of(&live).affected(sessions);
        if affected.is_empty() {
            return None;
        }
        let told = affected.to_string();
        let reason = "the gateway's configuration has changed";
        let order = End::new(Initiator::Reload, live.drain.code, reason);
        for session in affected.closed {
            session.order(order.clone());
        }
        tokio::spawn(close_spread(affected.drained, order, live.drain.spread));
        Some(told)
    }

    async fn compile(&self, read: Read) -> Result<Changes, Problems> {
        let (mut changes, mut generation) = match self.compile_once(read.clone()).await? {
            Some(compiled) => compiled,
            None => return Ok(Changes::default()),
        };
        let asked = self.live.load().questions.clone();
        if !generation.questions.is_subset(&asked) {
            // A new upstream is not to begin with nothing.
            self.discovery.follow(&asked.union(&generation.questions).cloned().collect());
            let _ = timeout(RESOLVE_AT_ONCE, self.discovery.answered()).await;
            if let Some(again) = self.compile_once(read).await? {
                (changes, generation) = again;
            }
        }
        let resolve_all = async {
            for pool in generation.pools.values() {
                pool.resolve().await;
            }
        };
        let _ = timeout(RESOLVE_AT_ONCE, resolve_all).await;
        own_log::set(generation.log.0, generation.log.1);
        generation.warn();
        generation.begin(&self.sessions);
        self.cache.apply(generation.cache);
        self.discovery.follow(&generation.questions);
        self.live.swap(generation);
        Ok(changes)
    }

    /// `None` when the runtime ends.
    async fn compile_once(&self, read: Read) -> Result<Option<(Changes, Generation)>, Problems> {
        let (live, discovery) = (Arc::clone(&self.live), Arc::clone(&self.discovery));
        let filters = Arc::clone(&self.filters);
        let compiled = tokio::task::spawn_blocking(move || {
            let previous = live.load();
            let surroundings = Surroundings {
                previous: Some(&previous),
                discovery: Some(&discovery),
                filters: &filters,
                open_sink: |target| Sink::open(target).map(Some),
            };
            let (tests, sources) = (read.config.tests.clone(), read.sources.clone());
            let generation = compile(read, &surroundings)?;
            verify(&generation, &tests, sources)?;
            Ok((Changes::between(&previous, &generation), generation))
        });
        compiled.await.map_or(Ok(None), |compiled| compiled.map(Some))
    }
}

fn texts(sources: &Sources) -> BTreeMap<PathBuf, String> {
    sources.files().map(|(path, text)| (path.to_owned(), text.to_owned())).collect()
}
