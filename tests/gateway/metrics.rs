//! Metrics count what happened, each thing once, in the formats that Prometheus reads.

use crate::support::{Config, Gateway, Metrics, Upstream, free_port, ok, until};
use std::io::Write;
use std::process::{Command, Stdio};

struct Counted {
    gateway: Gateway,
    admin: u16,
}

impl Counted {
    async fn start(config: Config) -> Self {
        let admin = free_port();
        let gateway = config.top(&with_admin(admin)).start().await;
        Self { gateway, admin }
    }

    async fn text(&self, accept: &str) -> (String, String) {
        let url = format!("http://127.0.0.1:{}/metrics", self.admin);
        let request = reqwest::Client::new().get(url).header("accept", accept);
        let response = request.send().await.expect("an answer");
        let media_type = response.headers()["content-type"].to_str().expect("text").to_owned();
        (media_type, response.text().await.expect("text"))
    }

    async fn now(&self) -> Metrics {
        Metrics::of(&self.text("*/*").await.1)
    }

    async fn requests(&self, route: &str, method: &str, code: &str) -> f64 {
        let labels = [("route", route), ("method", method), ("code", code)];
        self.now().await.value("tidegate_requests_total", &labels)
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
    assert_eq!(of("tidegate_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    assert!(of("process_resident_memory_bytes", &[]) > 1e6);
    assert!(of("process_open_fds", &[]) > 3.0);
    assert!(of("process_start_time_seconds", &[]) > 1.7e9);
}

#[tokio::test]
async fn a_session_counts_when_it_opens_and_its_user_is_no_label() {
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
async fn retries_and_what_became_of_attempts_are_counted() {
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
async fn counts_go_on_through_a_reload() {
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
async fn strangers_can_not_grow_what_is_counted() {
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
async fn both_formats_hold_to_their_rules() {
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
    Metrics::of(&text);
}

#[tokio::test]
async fn what_is_traced_is_an_example_of_its_bucket() {
    let upstream = Upstream::answering(|_| ok("ok")).await;
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let tracing = format!("tracing: {{otlp: {{endpoint: \"{nobody}\"}}}}");
    let counted = Counted::start(Config::to(&upstream).top(&tracing)).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("traceparent: 00-{trace}-00f067aa0ba902b7-01");
    counted.gateway.get("/", &[&parent]).await;
    until("it is counted", async || counted.requests("all", "GET", "200").await == 1.0).await;
    let (_, text) = counted.text("application/openmetrics-text").await;
    Metrics::of(&text);
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
