//! Runs a gateway, as a program or inside one. Knows nothing of routes and requests.

use super::Gateway;
use crate::explain::verify;
use crate::server::{HandledSignals, RunError, Server};
use crate::snapshot::{CompileEnv, compile};
use crate::telemetry::{self, LineSink};
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Maximum time for writing the last lines of the log to stderr.
const LAST_LOG_LINES_TIMEOUT: Duration = Duration::from_millis(500);

/// The workers are made first; the threads that may wait for files have another name.
fn thread_names(workers: usize) -> impl Fn() -> String + Send + Sync + 'static {
    let made = AtomicUsize::new(0);
    move || {
        let is_worker = made.fetch_add(1, Ordering::Relaxed) < workers;
        if is_worker { "gateway" } else { "gateway-files" }.to_owned()
    }
}

/// A gateway whose configuration is good.
struct Prepared {
    server: Server,
    threads: usize,
}

impl Gateway {
    /// Runs the gateway as all that a program does: [`run`](Self::run) with a log on stderr, as the `log` section of the
    /// configuration says. It prints an error as people read it, and returns the status to end with, 78 if the
    /// configuration is wrong.
    pub fn run_program(self) -> ExitCode {
        match self.run_with_log() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => error.report(),
        }
    }

    /// Runs until it is stopped, with the log that a program of the gateway's own has.
    pub(crate) fn run_with_log(self) -> Result<(), RunError> {
        telemetry::log::start();
        let ended = self.run();
        telemetry::log::flush(LAST_LOG_LINES_TIMEOUT);
        ended
    }

    /// Runs until SIGTERM, SIGINT or [`with_graceful_shutdown`](Self::with_graceful_shutdown) stops it, in a runtime of
    /// its own with as many threads as the configuration says. For a program without a runtime.
    ///
    /// It installs no logger: the gateway logs through the `log` crate, and the program decides where to.
    ///
    /// # Errors
    /// When the configuration is wrong, with all that is wrong; when an address can't be
    /// listened on; when threads can't be started.
    pub fn run(self) -> Result<(), RunError> {
        let Prepared { server, threads } = self.prepare(true)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name_fn(thread_names(threads))
            .enable_all()
            .build()
            .map_err(RunError::Runtime)?;
        // On a worker, where accepting and serving happen, not on this thread.
        let ended = runtime.block_on(async { tokio::spawn(server.run()).await });
        // Tunnels that outlived the grace end here.
        runtime.shutdown_background();
        ended.map_err(|panicked| RunError::Runtime(io::Error::other(panicked)))?
    }

    /// Serves in the runtime of the caller, until
    /// [`with_graceful_shutdown`](Self::with_graceful_shutdown) stops it. When the future is dropped, the gateway ends
    /// at once, and cuts off what is in flight.
    ///
    /// The process stays the program's: the gateway installs no logger and no panic hook, handles no signal unless
    /// [told to](Self::handle_signals), notifies no service manager and never ends the process.
    ///
    /// - The runtime needs I/O and time, and should have several threads; `threads` of the configuration makes none.
    /// - The gateway logs through the `log` crate, with targets that begin with `tidegate`. The program installs a
    ///   logger and sets the level; `log` of the configuration, and the level that the admin endpoint sets, count only
    ///   where [`run_program`](Self::run_program) or [`cli`](crate::cli) has installed the gateway's own logger.
    /// - The access log is the gateway's own and goes where `access_log` says, by default to stdout.
    /// - The limit of open files is raised to the hard limit, for the whole process.
    ///
    /// ```no_run
    /// use tidegate::{Config, Gateway};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let gateway = Gateway::from_config(Config::from_file("tidegate.yaml"))
    ///         .with_graceful_shutdown(async {
    ///             let _ = tokio::signal::ctrl_c().await;
    ///         });
    ///     gateway.serve().await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// When the configuration is wrong, with all that is wrong; when an address can't be listened on.
    pub async fn serve(self) -> Result<(), RunError> {
        // It reads files.
        let prepared = tokio::task::spawn_blocking(move || self.prepare(false)).await;
        let prepared = prepared.map_err(|error| RunError::Runtime(io::Error::other(error)))?;
        prepared?.server.run().await
    }

    /// Compiles the configuration. A program is what there is only one of in a process.
    fn prepare(self, is_program: bool) -> Result<Prepared, RunError> {
        let Self { config, filters, shutdown, signals, handle, takes_over, upgrades_on_signal } =
            self;
        let (_, requests) = handle;
        let usual = if is_program { HandledSignals::All } else { HandledSignals::None };
        let signals = signals.unwrap_or(usual);
        let is_program = is_program && signals == HandledSignals::All;
        let config = config.read_for_filters(&filters);
        // The first process of a container takes the container with it when it goes.
        let can_upgrade = signals == HandledSignals::All && std::process::id() != 1;
        let handover_socket = can_upgrade.then(|| config.handover_socket()).flatten();
        if takes_over && handover_socket.is_none() {
            let reason = "`upgrade_socket` is not set, or this is process 1, or this program \
                          does not handle signals";
            return Err(RunError::TakeOver(io::Error::other(reason)));
        }
        let filters = Arc::new(filters);
        let read = config.read.clone();
        let env = CompileEnv {
            previous: None,
            discovery: None,
            filters: &filters,
            open_sink: |target| LineSink::open(target).map(Some),
        };
        let snapshot = compile(config.read, &env).map_err(RunError::Config)?;
        verify(&snapshot, &read.config.tests, read.sources.clone()).map_err(RunError::Config)?;
        let threads = snapshot.startup.threads;
        let file = config.file.map(|path| (path, config.variables));
        let server = Server {
            snapshot,
            read,
            file,
            filters,
            shutdown,
            signals,
            requests,
            is_program,
            handover_socket,
            takes_over,
            upgrades_on_signal,
        };
        Ok(Prepared { server, threads })
    }
}
