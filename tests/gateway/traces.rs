//! Traces: each request in its place, told to the upstream and to a collector.

use crate::support::{Collector, Config, Gateway, Upstream, free_port, ok};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use tempfile::TempDir;

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
async fn a_request_is_a_span_and_its_attempt_another() {
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
async fn what_is_off_touches_nothing() {
    let upstream = Upstream::answering(|_| ok("hello")).await;
    let gateway = Config::to(&upstream).start().await;
    let fields = ["traceparent: what?", "tracestate: ever"];
    assert_eq!(gateway.get("/hello", &fields).await.status(), 200);
    let head = upstream.only_request().await.head;
    assert_eq!((head.only("traceparent"), head.only("tracestate")), (Some("what?"), Some("ever")));
    assert!(gateway.access_of("/hello").await.get("trace_id").is_none());
}
