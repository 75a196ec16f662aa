use std::io;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tokio::sync::oneshot;

/// What a signal asks for.
pub(super) enum Signal {
    /// SIGHUP: read the configuration again.
    Reload,
    /// The end.
    Stop(Stop),
}

/// How to end.
pub(super) enum Stop {
    /// SIGTERM: finish what is under way.
    Gracefully,
    /// SIGINT: hardly wait.
    Fast,
}

/// The signals that the gateway heeds.
pub(super) struct Signals {
    hangup: Stream,
    stops: Option<(Stream, Stream)>,
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
        Ok(Self { hangup: signal(SignalKind::hangup())?, stops, stop })
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
            how = stop_signal(&mut self.stops) => Signal::Stop(how),
            () = stop => Signal::Stop(Stop::Gracefully),
        }
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
