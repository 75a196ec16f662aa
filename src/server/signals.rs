//! Turns signals of the system into the gateway's own: stop, reload, upgrade, reopen. Acts on none of them.

use std::io;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tokio::sync::oneshot;

/// What a signal asks for.
pub(super) enum Signal {
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR1: open the access log's file again.
    Reopen,
    /// SIGQUIT: hand the listeners to a new gateway.
    Upgrade,
    /// SIGUSR2: start a new gateway, which then asks for the listeners.
    Renew,
    /// The end.
    Stop(Stop),
}

/// How to end.
pub(super) enum Stop {
    /// SIGTERM: finish what is under way.
    Gracefully,
    /// SIGINT: hardly wait.
    Fast,
    /// Another process has the listeners: finish what is under way.
    Replaced(u32),
}

/// The signals that the gateway heeds.
pub(super) struct Signals {
    hangup: Stream,
    reopen: Stream,
    stops: Option<(Stream, Stream)>,
    upgrades: Option<(Stream, Stream)>,
    stop: Option<oneshot::Receiver<()>>,
}

impl Signals {
    pub(super) fn listen(
        stop: Option<oneshot::Receiver<()>>,
        heeds_stops: bool,
    ) -> io::Result<Self> {
        let stops = match heeds_stops {
            true => Some((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)),
            false => None,
        };
        let upgrades = match heeds_stops {
            true => Some((signal(SignalKind::quit())?, signal(SignalKind::user_defined2())?)),
            false => None,
        };
        let hangup = signal(SignalKind::hangup())?;
        Ok(Self { hangup, reopen: signal(SignalKind::user_defined1())?, stops, upgrades, stop })
    }

    pub(super) async fn next(&mut self) -> Signal {
        let stop = async {
            match &mut self.stop {
                Some(stop) => drop(stop.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.hangup.recv() => Signal::Reload,
            _ = self.reopen.recv() => Signal::Reopen,
            how = upgrade_signal(&mut self.upgrades) => how,
            how = stop_signal(&mut self.stops) => Signal::Stop(how),
            () = stop => Signal::Stop(Stop::Gracefully),
        }
    }

    /// Waits for a signal to stop. Other signals are ignored meanwhile.
    pub(super) async fn stopped(&mut self) {
        while !matches!(self.next().await, Signal::Stop(_)) {}
    }

    /// A second signal to stop means: now.
    pub(super) async fn fast_stop(&mut self) {
        let _ = stop_signal(&mut self.stops).await;
    }
}

async fn stop_signal(stops: &mut Option<(Stream, Stream)>) -> Stop {
    match stops {
        Some((terminate, interrupt)) => tokio::select! {
            _ = terminate.recv() => Stop::Gracefully,
            _ = interrupt.recv() => Stop::Fast,
        },
        None => std::future::pending().await,
    }
}

async fn upgrade_signal(upgrades: &mut Option<(Stream, Stream)>) -> Signal {
    match upgrades {
        Some((quit, renew)) => tokio::select! {
            _ = quit.recv() => Signal::Upgrade,
            _ = renew.recv() => Signal::Renew,
        },
        None => std::future::pending().await,
    }
}
