//! `tidegate demo`: a gateway, a service and a page in one process. No other command uses it.

use super::{EXIT_FAILURE, EXIT_USAGE, Program};
use crate::config::Variables;
use crate::{Config, RunError, demo};
use clap::{Args, ValueEnum};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};

pub(super) const AFTER_HELP: &str = "\
Open http://localhost:5173 and send yourself a notification. Then set `websocket: off` on the
route notifications-ws in conf/tidegate.yaml: after the reload, the page falls back to polling.
Press Ctrl-C to stop everything.

With --auth, the page has a login, and the gateway lets nobody listen to the notifications of
another user. The issuer of the tokens asks for no password, so everything must be on loopback
addresses.

Examples:
  tidegate demo
  tidegate demo --auth                          with a login; the configuration is conf/tidegate-auth.yaml
  tidegate demo --gateway-port 3100 --service-port 4100 --page-port 5200
  tidegate demo --only notifications            only the service, behind a gateway of your own";

/// A configuration of the demo.
struct DemoConfig {
    /// The file in a checkout of the repository.
    file: &'static str,
    /// Its content, used if the file does not exist.
    content: &'static str,
}

const WITHOUT_LOGIN: DemoConfig =
    DemoConfig { file: "conf/tidegate.yaml", content: include_str!("../../conf/tidegate.yaml") };
const WITH_LOGIN: DemoConfig = DemoConfig {
    file: "conf/tidegate-auth.yaml",
    content: include_str!("../../conf/tidegate-auth.yaml"),
};

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
    /// Log in on the page, and let the gateway verify who subscribes.
    #[arg(long)]
    auth: bool,
    /// How long a token of the login is valid, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "auth",
        value_parser = clap::value_parser!(u64).range(3..=86_400))]
    token_ttl: u64,
    /// Configuration file of the gateway [default: conf/tidegate.yaml, with --auth
    /// conf/tidegate-auth.yaml, if it exists, else a built-in copy].
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
        if self.auth && !self.host.is_loopback() {
            eprintln!("error: --auth needs a loopback address; {} is not one", self.host);
            eprintln!(
                "hint: the demo's issuer gives everybody who reaches it a token, over plain HTTP"
            );
            return Err(ExitCode::from(EXIT_USAGE));
        }
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
            let issuer = match self.auth {
                true => Some(self.issuer().map_err(|error| fail(&error))?),
                false => None,
            };
            let page = demo::serve_page(listener, gateway, issuer, wait_for_stop(stopping.clone()));
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

    fn issuer(&self) -> std::io::Result<demo::Issuer> {
        demo::Issuer::new(self.page_origin(), Duration::from_secs(self.token_ttl))
    }

    fn page_origin(&self) -> String {
        format!("http://localhost:{}", self.page_port)
    }

    fn default_config(&self) -> DemoConfig {
        if self.auth { WITH_LOGIN } else { WITHOUT_LOGIN }
    }

    fn config(&self) -> Config {
        let page = SocketAddr::new(self.host, self.page_port);
        let variables = Variables::from_iter([
            ("GATEWAY_ADDRESS", format!("127.0.0.1:{}", self.gateway_port)),
            ("NOTIFICATIONS", format!("127.0.0.1:{}", self.service_port)),
            ("PAGE_ORIGIN", self.page_origin()),
            // Less than the lifetime of a token, or a fresh one would be warned of at once.
            ("WARN", format!("{}s", self.token_ttl / 3)),
            ("ISSUER_KEYS", format!("http://{page}{}", demo::KEY_SET_PATH)),
        ]);
        let DemoConfig { file, content } = self.default_config();
        match self.config.as_deref() {
            Some(file) => Config::from_file_with(file, variables),
            None if Path::new(file).exists() => Config::from_file_with(file, variables),
            None => Config::from_yaml_with(content, variables),
        }
    }

    fn announce(&self, wants: &impl Fn(DemoPart) -> bool) {
        if wants(DemoPart::Page) {
            eprintln!("page           {}", self.page_origin());
        }
        if wants(DemoPart::Gateway) {
            let file = self.config.clone().unwrap_or_else(|| self.default_config().file.into());
            let file = if file.exists() { file.display().to_string() } else { "built in".into() };
            eprintln!(
                "gateway        http://localhost:{} (configuration: {file})",
                self.gateway_port
            );
        }
        if wants(DemoPart::Notifications) {
            eprintln!("notifications  http://{}:{}", self.host, self.service_port);
        }
        if self.auth && wants(DemoPart::Page) {
            self.announce_login();
        }
        eprintln!("Press Ctrl-C to stop.");
    }

    fn announce_login(&self) {
        let [first, second, third] = demo::USERS;
        let (page, gateway) = (self.page_origin(), self.gateway_port);
        eprintln!(
            "issuer         {page}{} (ES256; tokens are valid for {} s)",
            demo::KEY_SET_PATH,
            self.token_ttl
        );
        eprintln!(
            "login          {first}, {second} or {third}, without a password

A login over plain HTTP is safe here only because everything listens on loopback addresses.
Try:
  1. Open {page}, log in as {first}, and send yourself a notification.
  2. Press \"Subscribe as {second}\": the gateway answers 403, and logs auth=forbidden (user_mismatch).
  3. Wait: before the token expires, the page renews the login, and the socket stays open.
  4. The same without the page:
     curl -i 'http://localhost:{gateway}/api/notification?userId={second}'     # 401
     TOKEN=$(curl -s {page}/token -d '{{\"user\":\"{first}\"}}' | sed 's/.*access_token\":\"//; s/\".*//')
     curl -i 'http://localhost:{gateway}/api/notification?userId={second}' -H \"Authorization: Bearer $TOKEN\"   # 403
     tidegate doctor 'ws://localhost:{gateway}/api/notifications/ws?userId={first}' --protocol notifications.v1 --protocol access_token.$TOKEN
"
        );
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
