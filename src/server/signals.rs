//! Turns signals of the system, and requests of handles, into the gateway's own: stop, reload, upgrade, reopen. Acts on
//! none of them.

use std::io;
use std::pin::Pin;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

/// Who waits for the result of a request, if anybody does.
type Reply<T> = Option<oneshot::Sender<T>>;

/// What a signal asks for.
pub(crate) enum Signal {
    /// SIGHUP: read the configuration again.
    Reload(Reply<Result<String, String>>),
    /// SIGUSR1: open the access log's file again.
    Reopen(Reply<()>),
    /// SIGQUIT: hand the listeners to a new gateway.
    Upgrade,
    /// SIGUSR2: start a new gateway, which then asks for the listeners.
    StartSuccessor,
    /// The end.
    Stop(StopMode),
}

/// How to end.
pub(crate) enum StopMode {
    /// SIGTERM: finish what is in flight.
    Gracefully,
    /// SIGINT: hardly wait.
    Fast,
    /// Another process has the listeners: finish what is in flight.
    Replaced(u32),
}

/// Signals that the program around a gateway requests instead of the system.
pub(crate) type RequestedSignals = mpsc::Receiver<Signal>;

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
    requests: RequestedSignals,
}

impl Signals {
    pub(super) fn listen(
        shutdown: Option<ShutdownSignal>,
        handled: HandledSignals,
        requests: RequestedSignals,
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
            requests,
        })
    }

    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            signal = either(&mut self.reloads, Signal::Reload(None), Signal::Reopen(None)) => signal,
            signal = either(&mut self.upgrades, Signal::Upgrade, Signal::StartSuccessor) => signal,
            stop = either(&mut self.stops, StopMode::Gracefully, StopMode::Fast) => Signal::Stop(stop),
            signal = next_request(&mut self.requests) => signal,
            () = completed(&mut self.shutdown) => Signal::Stop(StopMode::Gracefully),
        }
    }

    /// Waits for a signal to stop. Other signals are ignored meanwhile.
    pub(super) async fn wait_for_stop(&mut self) {
        while !matches!(self.next().await, Signal::Stop(_)) {}
    }

    /// A second signal to stop means: now.
    pub(super) async fn fast_stop(&mut self) {
        either(&mut self.stops, (), ()).await;
    }

    /// Refuses what handles request from now on: the gateway stops.
    pub(super) fn refuse_requests(&mut self) {
        self.requests.close();
        while self.requests.try_recv().is_ok() {}
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

/// Waits for one of two signals; forever, where they are not handled.
async fn either<T>(pair: &mut Pair, first: T, second: T) -> T {
    match pair {
        Some((one, other)) => tokio::select! {
            _ = one.recv() => first,
            _ = other.recv() => second,
        },
        None => std::future::pending().await,
    }
}

/// Waits for a request of a handle; forever, once there is no handle.
async fn next_request(requests: &mut RequestedSignals) -> Signal {
    match requests.recv().await {
        Some(request) => request,
        None => std::future::pending().await,
    }
}
