//! Traces: spans of requests, attempts and sessions, propagated to the upstream and exported to a collector.

use futures_util::SinkExt;
use nix::sys::signal::Signal;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;
use tidegate_testing::{
    CollectedSpan as Span, Collector, Config, Gateway, Handshake, Upstream, WAIT_TIMEOUT, cli,
    free_port, next, ok, respond,
};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// A gateway in a hurry to send its spans.
async fn start(config: &Config) -> Gateway {
    start_with(config, &[]).await
}

async fn start_with(config: &Config, environment: &[(&str, &str)]) -> Gateway {
    let folder = TempDir::new().expect("a folder");
    let port = free_port();
    let file = folder.path().join("tidegate.yaml");
    std::fs::write(&file, config.yaml(port)).expect("a configuration file");
    let environment = [&[("OTEL_BSP_SCHEDULE_DELAY", "50")], environment].concat();
    Gateway::run_with(folder, file, port, &environment).await
}

#[tokio::test]
async fn request_and_attempt_are_separate_spans() {
    let (collector, upstream) = (Collector::http().await, Upstream::saying("hello").await);
    let gateway = start(&Config::to(&upstream).top(&collector.section(""))).await;
    let parent = format!("traceparent: 00-{TRACE}-{SPAN}-01");
    let fields = [parent.as_str(), "tracestate: a=1", "tracestate: b=2", "User-Agent: tests"];
    assert_eq!(gateway.get("/hello?a=1&token=hush", &fields).await.status(), 200);

    let server = collector.server("/hello").await;
    assert_eq!((&*server.trace, &*server.parent), (TRACE, SPAN));
    assert_eq!((&*server.name, &*server.state), ("GET all", "a=1,b=2"));
    assert!(server.began <= server.ended && !server.is_error);
    for (key, value) in [
        ("http.request.method", "GET"),
        ("url.scheme", "http"),
        ("url.query", "a=1&token=REDACTED"),
        ("http.route", "all"),
        ("network.protocol.version", "1.1"),
        ("client.address", "127.0.0.1"),
        ("user_agent.original", "tests"),
    ] {
        assert_eq!(server.text(key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(server.number("http.response.status_code"), Some(200));
    assert_eq!(server.resource("service.name").as_deref(), Some("tidegate"));

    let attempts = collector.attempts(&server).await;
    let [client] = attempts.as_slice() else { panic!("one attempt in {attempts:?}") };
    assert_eq!((&*client.trace, client.kind), (TRACE, SpanKind::Client));
    assert_eq!(client.number("http.response.status_code"), Some(200));
    let port = i64::from(upstream.address().port());
    assert_eq!(client.text("server.address").as_deref(), Some("127.0.0.1"));
    assert_eq!(client.number("server.port"), Some(port));
    let url = format!("http://127.0.0.1:{port}/hello?a=1&token=REDACTED");
    assert_eq!(client.text("url.full"), Some(url));

    let head = upstream.only_request().await.head;
    assert_eq!(head.only("traceparent"), Some(&*format!("00-{TRACE}-{}-01", client.id)));
    assert_eq!(head.all("tracestate"), ["a=1", "b=2"]);

    let line = gateway.access_of("/hello").await;
    assert_eq!((&line["trace_id"], &line["span_id"]), (&TRACE.into(), &server.id.into()));
}

#[tokio::test]
async fn without_tracing_trace_headers_pass_unchanged() {
    let upstream = Upstream::answering(|_| ok("hello")).await;
    let gateway = Config::to(&upstream).start().await;
    let fields = ["traceparent: what?", "tracestate: ever"];
    assert_eq!(gateway.get("/hello", &fields).await.status(), 200);
    let head = upstream.only_request().await.head;
    assert_eq!((head.only("traceparent"), head.only("tracestate")), (Some("what?"), Some("ever")));
    assert!(gateway.access_of("/hello").await.get("trace_id").is_none());
}

/// Whether two requests that are alike were recorded: the first tells, the second is one that is.
async fn is_recorded(gateway: &Gateway, collector: &Collector, fields: &[&str]) -> bool {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let path = format!("/asked/{}", NEXT.fetch_add(1, Ordering::Relaxed));
    assert_eq!(gateway.get(&path, fields).await.status(), 200);
    // Its line is written when its span is in the queue.
    gateway.access_of(&path).await;
    let fence = path.replace("asked", "fence");
    assert_eq!(gateway.get(&fence, &[FENCE]).await.status(), 200);
    collector.server(&fence).await;
    collector.spans().iter().any(|span| span.text("url.path").as_ref() == Some(&path))
}

/// A parent of which every gateway here records the children.
const FENCE: &str = "traceparent: 00-00000000000000000000000000000001-b7ad6b7169203331-01";

#[tokio::test]
async fn malformed_traceparent_starts_a_new_trace() {
    let (collector, upstream) = (Collector::http().await, Upstream::saying("hello").await);
    let gateway = start(&Config::to(&upstream).top(&collector.section(""))).await;
    let zeros = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
    let sound = format!("traceparent: 00-{TRACE}-{SPAN}-01");
    let (zeros, short) = (format!("traceparent: {zeros}"), format!("traceparent: 00-{TRACE}-01"));
    let cases: [&[&str]; 4] = [&[], &[&zeros], &[&short], &[&sound, &sound]];
    for (number, fields) in cases.into_iter().enumerate() {
        let fields = [fields, &["tracestate: a=1"]].concat();
        let path = format!("/{number}");
        assert_eq!(gateway.get(&path, &fields).await.status(), 200);
        let server = collector.server(&path).await;
        assert_eq!((&*server.parent, &*server.state), ("", ""), "{fields:?}");
        assert!(server.trace != TRACE && server.trace != "0".repeat(32), "{fields:?}");
        let head = upstream.request(number).await.head;
        let told = head.only("traceparent").expect("a place in the trace");
        assert!(told.starts_with(&format!("00-{}-", server.trace)), "{told}");
        assert_eq!(head.only("tracestate"), None, "{fields:?}");
    }
    let fields = [sound.as_str(), "tracestate: a=1, NO"];
    assert_eq!(gateway.get("/state", &fields).await.status(), 200);
    assert_eq!(collector.server("/state").await.trace, TRACE);
    assert_eq!(upstream.request(4).await.head.only("tracestate"), None, "a malformed state");
}

#[tokio::test]
async fn unsampled_request_still_sends_traceparent() {
    let (collector, upstream) = (Collector::http().await, Upstream::saying("hello").await);
    let gateway = start(&Config::to(&upstream).top(&collector.section(""))).await;
    let parent = format!("traceparent: 00-{TRACE}-{SPAN}-00");
    assert!(!is_recorded(&gateway, &collector, &[&parent, "tracestate: a=1"]).await);
    let head = upstream.request(0).await.head;
    let told = head.only("traceparent").expect("a place in the trace");
    assert!(told.starts_with(&format!("00-{TRACE}-")) && told.ends_with("-00"), "{told}");
    assert!(!told.contains(SPAN), "the gateway has its own place: {told}");
    assert_eq!(head.only("tracestate"), Some("a=1"));
}

#[tokio::test]
async fn reload_changes_the_sampling_settings() {
    let (collector, upstream) = (Collector::http().await, Upstream::saying("hello").await);
    let config = |sample: &str| {
        let section = collector.section(&format!(", sample: {{{sample}}}"));
        Config::to(&upstream).top(&section)
    };
    let gateway = start(&config("ratio: 0, parent: on")).await;
    let parent = |flags: &str| format!("traceparent: 00-{TRACE}-{SPAN}-{flags}");
    let (taken, left) = (parent("01"), parent("00"));
    assert!(!is_recorded(&gateway, &collector, &[]).await, "nobody has decided");
    assert!(is_recorded(&gateway, &collector, &[&taken]).await);
    let reload = async |sample: &str| {
        let mark = gateway.mark();
        gateway.rewrite(&config(sample));
        gateway.says(mark, "reloaded").await;
    };
    reload("ratio: 1, parent: on").await;
    assert!(is_recorded(&gateway, &collector, &[]).await);
    assert!(!is_recorded(&gateway, &collector, &[&left]).await, "the parent has decided");
    reload("ratio: 1, parent: off").await;
    assert!(is_recorded(&gateway, &collector, &[&left]).await);
    reload("ratio: 1, parent: trusted").await;
    assert!(is_recorded(&gateway, &collector, &[&left]).await, "a stranger decides nothing");
    let trusting = config("ratio: 1, parent: trusted").top("trusted_proxies: [127.0.0.1]");
    let mark = gateway.mark();
    gateway.rewrite(&trusting);
    gateway.says(mark, "reloaded").await;
    assert!(!is_recorded(&gateway, &collector, &[&left]).await);
}

#[tokio::test]
async fn each_attempt_is_its_own_span() {
    let (collector, upstream) = (Collector::http().await, Upstream::saying("hello").await);
    let broken = Upstream::answering(|_| respond("503 Service Unavailable", &[], "")).await;
    let nobody = format!("127.0.0.1:{}", free_port());
    for (first, kind) in [(nobody, "ConnectRefused"), (broken.address().to_string(), "503")] {
        // Endpoints take turns, and so one of two requests meets the first one first.
        let config = Config::new()
            .upstream("service", &[first.clone(), upstream.address().to_string()])
            .route("all", "path_prefix: /", "service")
            .with("retry: {on: [connect_failure, \"503\"], backoff: 1ms}")
            .top(&collector.section(""));
        let gateway = start(&config).await;
        let mut tried = Vec::new();
        for number in 0..2 {
            let path = format!("/{kind}/{number}");
            assert_eq!(gateway.get(&path, &[]).await.status(), 200);
            let server = collector.server(&path).await;
            assert!(!server.is_error);
            tried.push((server.clone(), collector.attempts(&server).await));
        }
        let both = tried.iter().find(|(_, attempts)| attempts.len() == 2);
        let (server, attempts) = both.expect("a request with two attempts");
        let [failed, good] = attempts.as_slice() else { unreachable!() };
        assert_eq!(failed.text("error.type").as_deref(), Some(kind));
        assert!(failed.is_error && !good.is_error && failed.id != good.id);
        assert_eq!(failed.number("http.request.resend_count"), None);
        assert_eq!(good.number("http.request.resend_count"), Some(1));
        assert_eq!(good.number("server.port"), Some(upstream.address().port().into()));
        let told = upstream.requests().into_iter().map(|it| it.head);
        let told = told.filter(|head| head.target() == server.text("url.path").unwrap());
        let told: Vec<_> = told.map(|it| it.only("traceparent").unwrap().to_owned()).collect();
        assert_eq!(told, [format!("00-{}-{}-01", server.trace, good.id)]);
    }
}

#[tokio::test]
async fn failed_spans_have_an_error_type() {
    let collector = Collector::http().await;
    let nobody = format!("127.0.0.1:{}", free_port());
    let config = Config::new()
        .upstream("nobody", &[nobody])
        .route("none", "path_prefix: /none", "nobody")
        .top(&collector.section(""));
    let gateway = start(&config).await;
    assert_eq!(gateway.get("/none", &[]).await.status(), 502);
    let server = collector.server("/none").await;
    assert_eq!(server.text("error.type").as_deref(), Some("502"));
    assert!(server.is_error);
    let attempts = collector.attempts(&server).await;
    assert!(attempts.iter().all(|it| it.is_error) && !attempts.is_empty(), "{attempts:?}");

    assert_eq!(gateway.get("/elsewhere", &[]).await.status(), 404);
    let server = collector.server("/elsewhere").await;
    assert_eq!((&*server.name, server.text("http.route")), ("GET", None));
    assert_eq!(server.number("http.response.status_code"), Some(404));
    assert!(!server.is_error, "the client's fault is none of the server's");
    assert_eq!(collector.attempts(&server).await.len(), 0);

    let odd = "BREW /none HTTP/1.1\r\nHost: localhost\r\n\r\n";
    gateway.send(odd).await;
    let is_odd = |span: &Span| span.text("http.request.method_original").is_some();
    let span = collector.span("an odd method", is_odd).await;
    assert_eq!(span.text("http.request.method").as_deref(), Some("_OTHER"));
    assert_eq!(span.name, "HTTP none");
}

#[tokio::test]
async fn cache_hit_has_no_attempt_span() {
    let collector = Collector::http().await;
    let upstream =
        Upstream::answering(|_| respond("200 OK", &["Cache-Control: max-age=60"], "kept")).await;
    let config = Config::to(&upstream).with("cache: on").top(&collector.section(""));
    let gateway = start(&config).await;
    for (path, cache, attempts) in [("/kept?1", "miss", 1), ("/kept?1", "hit", 0)] {
        assert_eq!(gateway.get(path, &[]).await.text(), "kept");
        let is_it = |span: &Span| span.text("cache").as_deref() == Some(cache);
        let server = collector.span(cache, is_it).await;
        assert_eq!(collector.attempts(&server).await.len(), attempts, "{cache}");
    }
}

#[tokio::test]
async fn background_revalidation_is_an_internal_span() {
    let collector = Collector::http().await;
    let fields = ["Cache-Control: max-age=10, stale-while-revalidate=600", "Age: 20"];
    let upstream = Upstream::answering(move |_| respond("200 OK", &fields, "old")).await;
    let config = Config::to(&upstream).with("cache: on").top(&collector.section(""));
    let gateway = start(&config).await;
    for _ in 0..2 {
        assert_eq!(gateway.get("/old", &[]).await.text(), "old");
    }
    let internal = collector.span("a refresh", |span| span.kind == SpanKind::Internal).await;
    assert_eq!(internal.text("url.path").as_deref(), Some("/old"));
    assert_eq!(collector.attempts(&internal).await.len(), 1);
}

#[tokio::test]
async fn session_is_a_span_until_it_closes() {
    let (collector, upstream) = (Collector::http().await, Upstream::echo().await);
    let gateway = start(&Config::to(&upstream).top(&collector.section(""))).await;
    let parent = format!("00-{TRACE}-{SPAN}-01");
    let handshake = Handshake::to("/ws").set("traceparent", &parent);
    let (_, mut socket) = handshake.open(&gateway).await;
    socket.send(Message::text("hello")).await.expect("sent");
    assert_eq!(next(&mut socket).await, Some(Message::text("hello")));
    assert_eq!(gateway.get("/polled", &[FENCE]).await.status(), 200);
    collector.server("/polled").await;
    let is_session = |span: &Span| span.text("url.path").as_deref() == Some("/ws");
    assert!(!collector.spans().iter().any(is_session), "the session lives");
    let frame = CloseFrame { code: CloseCode::from(4001), reason: "enough".into() };
    socket.close(Some(frame)).await.expect("closed");
    while next(&mut socket).await.is_some() {}

    let server = collector.server("/ws").await;
    assert_eq!((&*server.trace, &*server.parent), (TRACE, SPAN));
    assert_eq!(server.number("http.response.status_code"), Some(101));
    assert!(!server.is_error);
    let names: Vec<_> = server.events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["websocket.open", "websocket.close"]);
    let event = |key: &str| server.event("websocket.close", key);
    assert_eq!(event("websocket.close.code"), Some(Value::IntValue(4001)));
    assert_eq!(event("websocket.close.reason"), Some(Value::StringValue("enough".to_owned())));
    assert_eq!(event("websocket.close.initiator"), Some(Value::StringValue("client".to_owned())));
    assert_eq!(server.number("websocket.frames_received"), Some(2));
    let [opened, closed] = server.events.as_slice() else { unreachable!() };
    assert!(server.began <= opened.time_unix_nano && opened.time_unix_nano < closed.time_unix_nano);

    let attempts = collector.attempts(&server).await;
    let [client] = attempts.as_slice() else { panic!("one attempt in {attempts:?}") };
    let head = upstream.request(0).await.head;
    assert_eq!(head.only("traceparent"), Some(&*format!("00-{TRACE}-{}-01", client.id)));
}

#[tokio::test]
async fn user_id_is_in_spans_only_when_enabled() {
    let (collector, upstream) = (Collector::http().await, Upstream::saying("hello").await);
    for (number, setting, expected) in
        [(1, "", None), (2, ", user_id: off", None), (3, ", user_id: on", Some("user-1"))]
    {
        let config = Config::to(&upstream)
            .top("identity: {user_id: [{query: userId}]}")
            .top(&collector.section(setting));
        let gateway = start(&config).await;
        assert_eq!(gateway.get(&format!("/{number}?userId=user-1"), &[]).await.status(), 200);
        let server = collector.server(&format!("/{number}")).await;
        assert_eq!(server.text("user.id").as_deref(), expected, "{setting}");
    }
}

#[tokio::test]
async fn spans_are_exported_over_grpc() {
    let (collector, upstream) = (Collector::grpc().await, Upstream::saying("hello").await);
    let endpoint = collector.endpoint();
    let section = format!(
        "tracing: {{otlp: {{endpoint: \"{endpoint}\", protocol: grpc, headers: {{x-key: mine}}}}}}"
    );
    let environment = [("OTEL_EXPORTER_OTLP_HEADERS", "x-key=theirs")];
    let gateway = start_with(&Config::to(&upstream).top(&section), &environment).await;
    assert_eq!(gateway.get("/hello", &[]).await.status(), 200);
    let server = collector.server("/hello").await;
    assert_eq!(collector.attempts(&server).await.len(), 1);
    assert_eq!(server.key.as_deref(), Some("mine"));
}

#[tokio::test]
async fn otel_variables_fill_in_missing_settings() {
    let (collector, upstream) = (Collector::http().await, Upstream::saying("hello").await);
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.endpoint()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=theirs"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_SERVICE_NAME", "edge"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
        ("OTEL_TRACES_SAMPLER", "parentbased_always_off"),
    ]
    .map(|(name, value)| (name, value.to_owned()));
    let environment: Vec<_> =
        environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let config = Config::to(&upstream).top("tracing: on");
    let gateway = start_with(&config, &environment).await;
    assert!(!is_recorded(&gateway, &collector, &[]).await, "by the sampler");
    let server = collector.span("any", |_| true).await;
    assert_eq!(server.resource("service.name").as_deref(), Some("edge"));
    assert_eq!(server.resource("deployment.environment.name").as_deref(), Some("test"));
    assert_eq!(server.key.as_deref(), Some("theirs"));
    assert_eq!(server.coding.as_deref(), Some("gzip"));
    let mark = gateway.mark();
    gateway.rewrite(
        &Config::to(&upstream).top("tracing: {otlp: {headers: {x-key: mine}}, sample: {ratio: 1}}"),
    );
    gateway.says(mark, "reloaded").await;
    assert_eq!(gateway.get("/file", &[]).await.status(), 200);
    assert_eq!(collector.server("/file").await.key.as_deref(), Some("mine"));

    let disabled = [environment, vec![("OTEL_SDK_DISABLED", "true")]].concat();
    let gateway = start_with(&config, &disabled).await;
    assert_eq!(gateway.get("/disabled", &[FENCE]).await.status(), 200);
    assert!(gateway.access_of("/disabled").await.get("trace_id").is_none());
}

#[tokio::test]
async fn bad_collector_url_in_the_environment_is_reported_with_its_variable() {
    let upstream = Upstream::saying("hello").await;
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("tidegate.yaml");
    let config = Config::to(&upstream).top("tracing: on").yaml(free_port());
    std::fs::write(&file, config).expect("a configuration file");
    for variable in ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] {
        let arguments = ["check", "--config", "tidegate.yaml"];
        let check = cli(folder.path(), &arguments, &[(variable, "collector:4318")]).await;
        let said = check.all();
        assert_eq!(check.code, Some(78), "{said}");
        let expected = format!("the environment variable {variable} is `collector:4318`, ");
        assert!(said.contains(&expected), "{said}");
        assert!(!said.contains("/v1/traces") && !said.contains("otlp.endpoint"), "{said}");
    }
}

#[tokio::test]
async fn unreachable_collector_is_logged_once() {
    let upstream = Upstream::saying("hello").await;
    let section = format!("tracing: {{otlp: {{endpoint: \"http://127.0.0.1:{}\"}}}}", free_port());
    let gateway = start(&Config::to(&upstream).top(&section)).await;
    assert_eq!(gateway.get("/first", &[]).await.status(), 200);
    let line = gateway.says(0, "traces: ").await;
    assert!(line.contains("2 spans lost"), "{line}");
    for _ in 0..3 {
        assert_eq!(gateway.get("/next", &[]).await.status(), 200);
        gateway.access_of("/next").await;
    }
    let told = gateway.log_lines().into_iter().filter(|line| line.contains("traces: "));
    assert_eq!(told.count(), 1, "once a minute");
}

#[tokio::test]
async fn shutdown_exports_pending_spans() {
    let (collector, upstream) = (Collector::http().await, Upstream::saying("hello").await);
    let config = Config::to(&upstream).top(&collector.section(""));
    let slow = [("OTEL_BSP_SCHEDULE_DELAY", "600000")];
    let mut gateway = start_with(&config, &slow).await;
    assert_eq!(gateway.get("/last", &[]).await.status(), 200);
    gateway.access_of("/last").await;
    assert_eq!(collector.spans().len(), 0);
    gateway.signal(Signal::SIGTERM);
    assert!(gateway.exited(WAIT_TIMEOUT).await.success());
    let server = collector.server("/last").await;
    assert_eq!(collector.attempts(&server).await.len(), 1);
}

#[tokio::test]
async fn session_span_goes_to_the_collector_of_its_start() {
    let (collector, other) = (Collector::http().await, Collector::http().await);
    let upstream = Upstream::echo().await;
    let config = |collector: &Collector| Config::to(&upstream).top(&collector.section(""));
    let slow = [("OTEL_BSP_SCHEDULE_DELAY", "600000")];
    let gateway = start_with(&config(&collector), &slow).await;
    let mut socket = gateway.websocket("/ws").await;
    let mark = gateway.mark();
    gateway.rewrite(&config(&other));
    gateway.says(mark, "reloaded").await;
    socket.close(None).await.expect("closed");
    while next(&mut socket).await.is_some() {}
    // The last who held the earlier exporter is gone, and what it had is sent.
    collector.server("/ws").await;
    assert_eq!(other.spans().len(), 0);
}
