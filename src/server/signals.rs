//! Turns signals of the system into the gateway's own: stop, reload, upgrade, reopen. Acts on none of them.

use std::io;
use std::pin::Pin;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// What a signal asks for.
pub(super) enum Signal {
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR1: open the access log's file again.
    Reopen,
    /// SIGQUIT: hand the listeners to a new gateway.
    Upgrade,
    /// SIGUSR2: start a new gateway, which then asks for the listeners.
    StartSuccessor,
    /// The end.
    Stop(StopMode),
}

/// How to end.
pub(super) enum StopMode {
    /// SIGTERM: finish what is in flight.
    Gracefully,
    /// SIGINT: hardly wait.
    Fast,
    /// Another process has the listeners: finish what is in flight.
    Replaced(u32),
}

/// Which signals a gateway handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandledSignals {
    /// All, as a program does.
    All,
    /// Those that change nothing but the gateway: SIGHUP and SIGUSR1.
    Reload,
    /// None: signals are the business of the program around the gateway.
    None,
}

/// Ends a gateway when it completes.
pub(crate) type ShutdownSignal = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Two signals, one for each of two ways.
type Pair = Option<(Stream, Stream)>;

/// The signals that the gateway receives.
pub(super) struct Signals {
    reloads: Pair,
    stops: Pair,
    upgrades: Pair,
    shutdown: Option<ShutdownSignal>,
}

impl Signals {
    pub(super) fn listen(
        shutdown: Option<ShutdownSignal>,
        handled: HandledSignals,
    ) -> io::Result<Self> {
        let pair = |is_handled, first, second| match is_handled {
            true => Ok::<_, io::Error>(Some((signal(first)?, signal(second)?))),
            false => Ok(None),
        };
        let is_program = handled == HandledSignals::All;
        let reloads = handled != HandledSignals::None;
        Ok(Self {
            stops: pair(is_program, SignalKind::terminate(), SignalKind::interrupt())?,
            upgrades: pair(is_program, SignalKind::quit(), SignalKind::user_defined2())?,
            reloads: pair(reloads, SignalKind::hangup(), SignalKind::user_defined1())?,
            shutdown,
        })
    }

    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            how = reload_signal(&mut self.reloads) => how,
            how = upgrade_signal(&mut self.upgrades) => how,
            how = stop_signal(&mut self.stops) => Signal::Stop(how),
            () = completed(&mut self.shutdown) => Signal::Stop(StopMode::Gracefully),
        }
    }

    /// Waits for a signal to stop. Other signals are ignored meanwhile.
    pub(super) async fn wait_for_stop(&mut self) {
        while !matches!(self.next().await, Signal::Stop(_)) {}
    }

    /// A second signal to stop means: now.
    pub(super) async fn fast_stop(&mut self) {
        let _ = stop_signal(&mut self.stops).await;
    }
}

/// Waits until the future completes, once; after that, and without one, it waits forever.
async fn completed(shutdown: &mut Option<ShutdownSignal>) {
    match shutdown {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
    *shutdown = None;
}

async fn reload_signal(reloads: &mut Pair) -> Signal {
    match reloads {
        Some((hangup, reopen)) => tokio::select! {
            _ = hangup.recv() => Signal::Reload,
            _ = reopen.recv() => Signal::Reopen,
        },
        None => std::future::pending().await,
    }
}

async fn stop_signal(stops: &mut Pair) -> StopMode {
    match stops {
        Some((terminate, interrupt)) => tokio::select! {
            _ = terminate.recv() => StopMode::Gracefully,
            _ = interrupt.recv() => StopMode::Fast,
        },
        None => std::future::pending().await,
    }
}

async fn upgrade_signal(upgrades: &mut Pair) -> Signal {
    match upgrades {
        Some((quit, renew)) => tokio::select! {
            _ = quit.recv() => Signal::Upgrade,
            _ = renew.recv() => Signal::StartSuccessor,
        },
        None => std::future::pending().await,
    }
}
