//! `tidegate demo`: a gateway, a service and a page in one process. No other command uses it.

use super::{EXIT_FAILURE, Program};
use crate::config::Variables;
use crate::{Config, RunError, demo};
use clap::{Args, ValueEnum};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};

pub(super) const AFTER_HELP: &str = "\
Open http://localhost:5173 and send yourself a notification. Then set `websocket: off` on the
route notifications-ws in conf/tidegate.yaml: after the reload, the page falls back to polling.
Press Ctrl-C to stop everything.

Examples:
  tidegate demo
  tidegate demo --gateway-port 3100 --service-port 4100 --page-port 5200
  tidegate demo --only notifications            only the service, behind a gateway of your own";

/// The demo's configuration, used if [`DEMO_CONFIG_FILE`] does not exist.
const DEMO_CONFIG: &str = include_str!("../../conf/tidegate.yaml");
/// The demo's configuration file in a checkout of the repository.
const DEMO_CONFIG_FILE: &str = "conf/tidegate.yaml";

#[derive(Args)]
pub(super) struct Demo {
    /// Port of the gateway.
    #[arg(long, value_name = "PORT", default_value_t = 3000)]
    gateway_port: u16,
    /// Port of the notification service.
    #[arg(long, value_name = "PORT", default_value_t = 4009)]
    service_port: u16,
    /// Port of the web page.
    #[arg(long, value_name = "PORT", default_value_t = 5173)]
    page_port: u16,
    /// Address that the service and the page listen on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: IpAddr,
    /// URL of the gateway, for the page [default: http://localhost:GATEWAY_PORT].
    #[arg(long, value_name = "URL")]
    gateway_url: Option<String>,
    /// Configuration file of the gateway [default: conf/tidegate.yaml if it exists, else a built-in
    /// copy].
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Run only this part.
    #[arg(long)]
    only: Option<DemoPart>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DemoPart {
    /// The gateway.
    Gateway,
    /// The notification service.
    Notifications,
    /// The page.
    Page,
}

impl Demo {
    pub(super) fn run(&self, program: &Program<'_>) -> Result<(), ExitCode> {
        let wants = |part| self.only.is_none_or(|only| only == part);
        let runtime = tokio::runtime::Runtime::new().map_err(|error| fail(&error))?;
        // Services end before the gateway does, so that browsers are told why (1001).
        let (stop_services, stopping) = watch::channel(false);
        let (stop_gateway, gateway_stopped) = oneshot::channel::<()>();

        let mut services = Vec::new();
        if wants(DemoPart::Notifications) {
            let listener = runtime.block_on(self.bind(self.service_port, "--service-port"))?;
            let service = demo::serve_notifications(listener, wait_for_stop(stopping.clone()));
            services.push(runtime.spawn(service));
        }
        if wants(DemoPart::Page) {
            let listener = runtime.block_on(self.bind(self.page_port, "--page-port"))?;
            let gateway = match &self.gateway_url {
                Some(url) => url.clone(),
                None => format!("http://localhost:{}", self.gateway_port),
            };
            let page = demo::serve_page(listener, gateway, wait_for_stop(stopping.clone()));
            services.push(runtime.spawn(page));
        }
        self.announce(&wants);

        let ending = async move {
            wait_for_interrupt().await;
            let _ = stop_services.send(true);
            for service in services {
                if let Ok(Err(error)) = service.await {
                    eprintln!("error: {error}");
                }
            }
            drop(stop_gateway);
        };
        // Whoever asks twice does not want to wait for what is under way.
        let insisting = async {
            wait_for_interrupt().await;
            wait_for_interrupt().await;
            std::process::exit(i32::from(EXIT_FAILURE));
        };
        runtime.spawn(insisting);
        if wants(DemoPart::Gateway) {
            runtime.spawn(ending);
            program
                .gateway(self.config())
                .with_graceful_shutdown(async {
                    let _ = gateway_stopped.await;
                })
                .handle_reload_signals()
                .run_with_log()
                .map_err(|error| {
                    if matches!(error, RunError::Listen { .. }) {
                        eprintln!("hint: choose another port with --gateway-port");
                    }
                    error.report()
                })
        } else {
            runtime.block_on(ending);
            Ok(())
        }
    }

    async fn bind(&self, port: u16, flag: &str) -> Result<TcpListener, ExitCode> {
        TcpListener::bind((self.host, port)).await.map_err(|error| {
            eprintln!("error: cannot listen on {}:{port}: {error}", self.host);
            eprintln!("hint: choose another port with {flag}");
            ExitCode::from(EXIT_FAILURE)
        })
    }

    fn config(&self) -> Config {
        let variables = Variables::from_iter([
            ("GATEWAY_ADDRESS", format!("127.0.0.1:{}", self.gateway_port)),
            ("NOTIFICATIONS", format!("127.0.0.1:{}", self.service_port)),
            ("PAGE_ORIGIN", format!("http://localhost:{}", self.page_port)),
        ]);
        match self.config.as_deref() {
            Some(file) => Config::from_file_with(file, variables),
            None if Path::new(DEMO_CONFIG_FILE).exists() => {
                Config::from_file_with(DEMO_CONFIG_FILE, variables)
            }
            None => Config::from_yaml_with(DEMO_CONFIG, variables),
        }
    }

    fn announce(&self, wants: &impl Fn(DemoPart) -> bool) {
        if wants(DemoPart::Page) {
            eprintln!("page           http://localhost:{}", self.page_port);
        }
        if wants(DemoPart::Gateway) {
            let file = self.config.clone().unwrap_or_else(|| DEMO_CONFIG_FILE.into());
            let file = if file.exists() { file.display().to_string() } else { "built in".into() };
            eprintln!(
                "gateway        http://localhost:{} (configuration: {file})",
                self.gateway_port
            );
        }
        if wants(DemoPart::Notifications) {
            eprintln!("notifications  http://{}:{}", self.host, self.service_port);
        }
        eprintln!("Press Ctrl-C to stop.");
    }
}

async fn wait_for_stop(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|&stop| stop).await;
}

async fn wait_for_interrupt() {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn fail(error: &std::io::Error) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(EXIT_FAILURE)
}
