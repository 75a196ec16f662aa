//! Metrics count each event once, in the formats that Prometheus reads.

use std::io::Write;
use std::process::{Command, Stdio};
use tempfile::TempDir;
use tidegate_testing::{Config, Gateway, Metrics, Upstream, free_port, get, ok, respond, until};

/// A gateway that can be asked for its metrics.
pub(crate) struct Counted {
    pub gateway: Gateway,
    admin: u16,
}

impl Counted {
    pub(crate) async fn start(config: Config) -> Self {
        Self::start_in(TempDir::new().expect("a folder"), config).await
    }

    /// In a folder that has files for it.
    pub(crate) async fn start_in(folder: TempDir, config: Config) -> Self {
        Self::start_at(free_port(), folder, config).await
    }

    /// At this port.
    pub(crate) async fn start_at(port: u16, folder: TempDir, config: Config) -> Self {
        let admin = free_port();
        let file = folder.path().join("tidegate.yaml");
        std::fs::write(&file, config.top(&with_admin(admin)).yaml(port)).expect("a file");
        Self { gateway: Gateway::run(folder, file, port).await, admin }
    }

    async fn text(&self, accept: &str) -> (String, String) {
        let url = format!("http://127.0.0.1:{}/metrics", self.admin);
        let request = reqwest::Client::new().get(url).header("accept", accept);
        let response = request.send().await.expect("an answer");
        let media_type = response.headers()["content-type"].to_str().expect("text").to_owned();
        (media_type, response.text().await.expect("text"))
    }

    pub(crate) async fn now(&self) -> Metrics {
        Metrics::parse(&self.text("*/*").await.1)
    }

    /// What a sample is, now.
    pub(crate) async fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.now().await.value(name, labels)
    }

    /// Where it is asked.
    pub(crate) fn admin(&self) -> String {
        format!("127.0.0.1:{}", self.admin)
    }

    /// Where the gateway listens, as its labels say it.
    pub(crate) fn listener(&self) -> String {
        self.gateway.address().to_string()
    }

    async fn requests(&self, route: &str, method: &str, code: &str) -> f64 {
        let labels = [("route", route), ("method", method), ("code", code)];
        self.value("tidegate_requests_total", &labels).await
    }
}

fn with_admin(port: u16) -> String {
    format!("admin: {{address: \"127.0.0.1:{port}\"}}")
}

#[tokio::test]
async fn each_request_is_counted_by_route_method_and_code() {
    let upstream = Upstream::answering(|_| ok("ok")).await;
    let config = Config::to(&upstream).answer("gone", "path: /gone", "respond: {status: 410}");
    let counted = Counted::start(config).await;
    for _ in 0..3 {
        assert_eq!(counted.gateway.get("/", &[]).await.status(), 200);
    }
    counted.gateway.get("/gone", &[]).await;
    counted.gateway.get("/%zz", &[]).await;
    until("the last is counted", async || counted.requests("", "GET", "400").await == 1.0).await;
    assert_eq!(counted.requests("all", "GET", "200").await, 3.0);
    assert_eq!(counted.requests("gone", "GET", "410").await, 1.0);
    let metrics = counted.now().await;
    let of = |name: &str, labels: &[(&str, &str)]| metrics.value(name, labels);
    assert_eq!(of("tidegate_request_duration_seconds_count", &[("route", "all")]), 3.0);
    let service = [("upstream", "service")];
    assert_eq!(of("tidegate_upstream_request_duration_seconds_count", &service), 3.0);
    let answered = [("upstream", "service"), ("result", "2xx")];
    assert_eq!(of("tidegate_upstream_attempts_total", &answered), 3.0);
    let features = [
        (cfg!(feature = "demo"), "demo"),
        (cfg!(feature = "discovery"), "discovery"),
        (cfg!(feature = "import-express"), "import-express"),
        (cfg!(feature = "jemalloc"), "jemalloc"),
        (cfg!(feature = "opentelemetry"), "opentelemetry"),
        (cfg!(feature = "valkey"), "valkey"),
    ];
    let features = features.iter().filter(|(is_in, _)| *is_in).map(|(_, name)| *name);
    let build = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("revision", option_env!("TIDEGATE_REVISION").unwrap_or("unknown")),
        ("features", &features.collect::<Vec<_>>().join(",")),
    ];
    assert_eq!(of("tidegate_build_info", &build), 1.0);
    assert!(of("process_resident_memory_bytes", &[]) > 1e6);
    assert!(of("process_open_fds", &[]) > 3.0);
    assert!(of("process_start_time_seconds", &[]) > 1.7e9);
}

#[tokio::test]
async fn session_is_counted_at_open_without_a_user_label() {
    let upstream = Upstream::echo().await;
    let counted = Counted::start(Config::to(&upstream)).await;
    let socket = counted.gateway.websocket("/ws?userId=somebody").await;
    until("it is counted", async || counted.requests("all", "GET", "101").await == 1.0).await;
    drop(socket);
    let ended = async || {
        let labels = [("route", "all")];
        counted.now().await.value("tidegate_websocket_duration_seconds_count", &labels) == 1.0
    };
    until("its end is counted", ended).await;
    assert_eq!(counted.requests("all", "GET", "101").await, 1.0, "once");
    let (_, text) = counted.text("*/*").await;
    assert!(!text.contains("somebody"));
}

#[tokio::test]
async fn attempts_and_retries_are_counted_by_result() {
    let upstream = Upstream::answering(|_| ok("ok")).await;
    let nobody = format!("127.0.0.1:{}", free_port());
    let endpoints = [nobody, upstream.address().to_string()];
    let config =
        Config::new().upstream("service", &endpoints).route("all", "path_prefix: /", "service");
    let counted = Counted::start(config).await;
    for _ in 0..2 {
        assert_eq!(counted.gateway.get("/", &[]).await.status(), 200);
    }
    let metrics = counted.now().await;
    let of = |result: &str| {
        let labels = [("upstream", "service"), ("result", result)];
        metrics.value("tidegate_upstream_attempts_total", &labels)
    };
    let retries = metrics.value("tidegate_upstream_retries_total", &[("upstream", "service")]);
    // Each request had the other's turn as well.
    assert_eq!((of("2xx"), of("unreachable"), retries), (2.0, 2.0, 2.0));
}

#[tokio::test]
async fn ejected_endpoint_is_counted() {
    let upstream = Upstream::answering(|_| ok("ok")).await;
    let nobody = format!("127.0.0.1:{}", free_port());
    let endpoints = [nobody.clone(), upstream.address().to_string()];
    let config = Config::new()
        .upstream("service", &endpoints)
        .speaking("ejection: {connect_failures: 1, duration: 60s}")
        .route("all", "path_prefix: /", "service");
    let counted = Counted::start(config).await;
    for _ in 0..4 {
        assert_eq!(counted.gateway.get("/", &[]).await.status(), 200);
    }
    let metrics = counted.now().await;
    let ejections = metrics.value("tidegate_upstream_ejections_total", &[("upstream", "service")]);
    assert_eq!(ejections, 1.0);
    for (endpoint, ejected) in [(&nobody, 1.0), (&endpoints[1], 0.0)] {
        let labels = [("upstream", "service"), ("endpoint", endpoint)];
        let of = |name: &str| metrics.value(name, &labels);
        assert_eq!(of("tidegate_upstream_endpoint_ejected"), ejected, "{endpoint}");
        assert_eq!(of("tidegate_upstream_endpoint_healthy"), 1.0, "no check says otherwise");
    }
}

#[tokio::test]
async fn retries_denied_by_the_budget_are_counted() {
    let upstream = Upstream::answering(|_| respond("503 Service Unavailable", &[], "no")).await;
    let config = Config::to(&upstream)
        .speaking("retry_percent: 0")
        .with("retry: {on: [\"503\"], attempts: 2, backoff: 1ms}");
    let counted = Counted::start(config).await;
    let service = [("upstream", "service")];
    assert_eq!(counted.value("tidegate_upstream_retry_budget", &service).await, 20.0);
    for _ in 0..30 {
        assert_eq!(counted.gateway.get("/", &[]).await.status(), 503);
    }
    let metrics = counted.now().await;
    let of = |name: &str| metrics.value(name, &service);
    assert_eq!(of("tidegate_upstream_retries_total"), 20.0);
    assert_eq!(of("tidegate_upstream_retries_denied_total"), 10.0);
    assert_eq!(of("tidegate_upstream_retry_budget"), 0.0);
}

#[tokio::test]
async fn shed_requests_are_counted_by_limit() {
    let upstream = hanging().await;
    let counted = Counted::start(Config::to(&upstream).top("limits: {requests: 1}")).await;
    let mut hanging = counted.gateway.connect().await;
    hanging.send(get("/hangs", &[])).await;
    upstream.request(0).await;
    for _ in 0..3 {
        assert_eq!(counted.gateway.get("/", &[]).await.status(), 503);
    }
    let metrics = counted.now().await;
    let shed = |limit: &str| metrics.value("tidegate_requests_shed_total", &[("limit", limit)]);
    assert_eq!((shed("requests"), shed("memory")), (3.0, 0.0));
    until("only one is under way", async || {
        counted.value("tidegate_requests_in_flight", &[]).await == 1.0
    })
    .await;
}

#[tokio::test]
async fn reloads_are_counted_by_result() {
    let upstream = Upstream::answering(|_| ok("ok")).await;
    let counted = Counted::start(Config::to(&upstream)).await;
    let fared = async || {
        let metrics = counted.now().await;
        let reloads =
            |result| metrics.value("tidegate_config_reloads_total", &[("result", result)]);
        let is_good = metrics.value("tidegate_config_last_reload_successful", &[]);
        let when = metrics.value("tidegate_config_last_reload_timestamp_seconds", &[]);
        (reloads("applied"), reloads("refused"), is_good, when > 1.7e9)
    };
    let first = counted.value("tidegate_config_version", &[]).await;
    assert_eq!(fared().await, (0.0, 0.0, 1.0, false));
    let with = |line: &str| Config::to(&upstream).with(line).top(&with_admin(counted.admin));
    counted.gateway.rewrite(&with("timeouts: {read: 5s}"));
    until("it is applied", async || fared().await == (1.0, 0.0, 1.0, true)).await;
    assert_eq!(counted.value("tidegate_config_version", &[]).await, first + 1.0);
    counted.gateway.rewrite(&with("timeouts: {reed: 5s}"));
    until("it is refused", async || fared().await == (1.0, 1.0, 0.0, true)).await;
    assert_eq!(counted.value("tidegate_config_version", &[]).await, first + 1.0, "as before");
}

/// An upstream that answers everything but `/hangs`.
pub(crate) async fn hanging() -> Upstream {
    Upstream::scripted(|mut wire, recorder| async move {
        while let Some(head) = wire.try_head().await {
            recorder.record(&head);
            if head.target() == "/hangs" {
                std::future::pending::<()>().await;
            }
            wire.send(ok("ok")).await;
        }
    })
    .await
}

#[tokio::test]
async fn counters_survive_a_reload() {
    let upstream = Upstream::answering(|_| ok("ok")).await;
    let counted = Counted::start(Config::to(&upstream)).await;
    counted.gateway.get("/", &[]).await;
    until("it is counted", async || counted.requests("all", "GET", "200").await == 1.0).await;
    let mark = counted.gateway.mark();
    let other = Config::to(&upstream).with("timeouts: {read: 5s}").top(&with_admin(counted.admin));
    counted.gateway.rewrite(&other);
    counted.gateway.says(mark, "reloaded").await;
    counted.gateway.get("/", &[]).await;
    until("both are counted", async || counted.requests("all", "GET", "200").await == 2.0).await;
}

#[tokio::test]
async fn unknown_methods_and_paths_add_no_labels() {
    let upstream = Upstream::answering(|_| ok("ok")).await;
    let counted = Counted::start(Config::to(&upstream)).await;
    for number in 0..20 {
        let head = format!("BREW{number} /{number}?x={number} HTTP/1.1\r\nHost: h{number}\r\n\r\n");
        let mut wire = counted.gateway.connect().await;
        wire.send(&head).await;
        wire.response().await;
    }
    until("all are counted", async || counted.requests("all", "_OTHER", "200").await == 20.0).await;
    let metrics = counted.now().await;
    assert_eq!(metrics.values_of("route").into_iter().collect::<Vec<_>>(), ["all"]);
    assert_eq!(metrics.values_of("method").into_iter().collect::<Vec<_>>(), ["_OTHER"]);
}

#[tokio::test]
async fn prometheus_and_openmetrics_output_is_valid() {
    let upstream = Upstream::echo().await;
    let strange = Config::to(&upstream).answer(
        "\"a \\\"name\\\" with \\\\ \"",
        "path: /strange",
        "respond: {status: 200}",
    );
    let counted = Counted::start(strange).await;
    counted.gateway.get("/strange", &[]).await;
    let _socket = counted.gateway.websocket("/ws").await;
    let strange = "a \"name\" with \\ ";
    until("it is counted", async || counted.requests(strange, "GET", "200").await == 1.0).await;
    let (media_type, text) = counted.text("text/plain").await;
    assert_eq!(media_type, "text/plain; version=0.0.4; charset=utf-8");
    checked_by_promtool(&text);
    let accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    let (media_type, text) = counted.text(accept).await;
    assert_eq!(media_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(text.ends_with("\n# EOF\n"));
    Metrics::parse(&text);
}

#[tokio::test]
async fn traced_request_is_an_exemplar_of_its_bucket() {
    let upstream = Upstream::answering(|_| ok("ok")).await;
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let tracing = format!("tracing: {{otlp: {{endpoint: \"{nobody}\"}}}}");
    let counted = Counted::start(Config::to(&upstream).top(&tracing)).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("traceparent: 00-{trace}-00f067aa0ba902b7-01");
    counted.gateway.get("/", &[&parent]).await;
    until("it is counted", async || counted.requests("all", "GET", "200").await == 1.0).await;
    let (_, text) = counted.text("application/openmetrics-text").await;
    Metrics::parse(&text);
    let example = format!(" 1 # {{trace_id=\"{trace}\"}} 0.");
    assert!(text.contains(&example), "{text}");
    assert!(!counted.text("text/plain").await.1.contains(trace), "only OpenMetrics has them");
}

/// Where there is one.
fn checked_by_promtool(text: &str) {
    let command = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = command else { return };
    let mut stdin = promtool.stdin.take().expect("stdin");
    stdin.write_all(text.as_bytes()).expect("read");
    drop(stdin);
    let output = promtool.wait_with_output().expect("its end");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
