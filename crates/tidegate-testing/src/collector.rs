//! A collector of OTLP traces that records each span. It does not know the gateway's configuration.

use super::{Upstream, respond, within};
use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use prost::Message;
use std::io::Read;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::server::TcpIncoming;

/// An OTLP trace collector that records each span.
pub struct Collector {
    address: SocketAddr,
    spans: watch::Receiver<Vec<Span>>,
    protocol: &'static str,
    /// The listener's task, which ends with the collector.
    _service: Service,
}

enum Service {
    Http { _upstream: Upstream },
    Grpc(JoinHandle<()>),
}

/// A received span, with the attributes of its batch.
#[derive(Debug, Clone)]
pub struct Span {
    /// The name of the operation, such as `GET /api`.
    pub name: String,
    /// Whether the gateway was the server or the client of the operation.
    pub kind: SpanKind,
    /// The trace id, in hexadecimal.
    pub trace: String,
    /// The span id, in hexadecimal.
    pub id: String,
    /// The parent's span id; empty if there is none.
    pub parent: String,
    /// The value of the `tracestate` header.
    pub state: String,
    /// When the span started, in nanoseconds since the Unix epoch.
    pub began: u64,
    /// When the span ended, in nanoseconds since the Unix epoch.
    pub ended: u64,
    /// Whether the span's status is an error.
    pub is_error: bool,
    /// The events within the span, in order.
    pub events: Vec<Event>,
    attributes: Vec<KeyValue>,
    resource: Vec<KeyValue>,
    /// The header `x-key` of the export request.
    pub key: Option<String>,
    /// The content coding of the export request.
    pub coding: Option<String>,
}

impl Collector {
    /// A collector over HTTP.
    pub async fn http() -> Self {
        let (sender, spans) = watch::channel(Vec::new());
        let service = Upstream::answering(move |request| {
            assert_eq!(request.head.target(), "/v1/traces");
            assert_eq!(request.head.get("content-type"), Some("application/x-protobuf"));
            let mut body = request.body.clone();
            if request.head.get("content-encoding") == Some("gzip") {
                body.clear();
                let mut inflated = GzDecoder::new(&*request.body);
                inflated.read_to_end(&mut body).expect("gzip");
            }
            let batch = ExportTraceServiceRequest::decode(&*body).expect("OTLP");
            let field = |name| request.head.get(name).map(str::to_owned);
            keep(&sender, batch, field("x-key"), field("content-encoding"));
            respond("200 OK", &["Content-Type: application/x-protobuf"], "")
        })
        .await;
        let address = service.address();
        Self { address, spans, protocol: "http", _service: Service::Http { _upstream: service } }
    }

    /// A collector over gRPC.
    pub async fn grpc() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let (sender, spans) = watch::channel(Vec::new());
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(Keeper(sender)))
            .serve_with_incoming(TcpIncoming::from(listener));
        let task = tokio::spawn(async move { server.await.expect("gRPC") });
        Self { address, spans, protocol: "grpc", _service: Service::Grpc(task) }
    }

    /// The `tracing` section for this collector, with `more` after `otlp: {…}`.
    pub fn section(&self, more: &str) -> String {
        let protocol = self.protocol;
        let endpoint = self.endpoint();
        format!("tracing: {{otlp: {{endpoint: \"{endpoint}\", protocol: {protocol}}}{more}}}")
    }

    /// The URL that the gateway exports spans to.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.spans.borrow().clone()
    }

    /// The first span that `takes` accepts, received or still to come.
    pub async fn span(&self, what: &str, takes: impl Fn(&Span) -> bool) -> Span {
        let mut spans = self.spans.clone();
        let found = within(what, spans.wait_for(|all| all.iter().any(&takes))).await;
        found.expect("the collector runs").iter().find(|span| takes(span)).expect("it").clone()
    }

    /// The span of the request for this path.
    pub async fn server(&self, path: &str) -> Span {
        let is_it = |span: &Span| {
            span.kind == SpanKind::Server && span.text("url.path").as_deref() == Some(path)
        };
        self.span(&format!("the span of {path}"), is_it).await
    }

    /// The spans of its attempts, in start order.
    pub async fn attempts(&self, of: &Span) -> Vec<Span> {
        let mut all = self.spans();
        all.retain(|span| span.parent == of.id);
        all.sort_by_key(|span| span.began);
        all
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Service::Grpc(task) = &self._service {
            task.abort();
        }
    }
}

impl Span {
    /// A text attribute.
    pub fn text(&self, key: &str) -> Option<String> {
        text(&self.attributes, key)
    }

    /// A number attribute.
    pub fn number(&self, key: &str) -> Option<i64> {
        match find(&self.attributes, key)? {
            Value::IntValue(number) => Some(number),
            _ => None,
        }
    }

    /// A resource attribute.
    pub fn resource(&self, key: &str) -> Option<String> {
        text(&self.resource, key)
    }

    /// An attribute of an event.
    pub fn event(&self, name: &str, key: &str) -> Option<Value> {
        let event = self.events.iter().find(|event| event.name == name)?;
        find(&event.attributes, key)
    }
}

fn find(attributes: &[KeyValue], key: &str) -> Option<Value> {
    attributes.iter().find(|one| one.key == key)?.value.clone()?.value
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    match find(attributes, key)? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

fn keep(
    spans: &watch::Sender<Vec<Span>>,
    batch: ExportTraceServiceRequest,
    key: Option<String>,
    coding: Option<String>,
) {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for of_resource in batch.resource_spans {
        let resource = of_resource.resource.map(|it| it.attributes).unwrap_or_default();
        for span in of_resource.scope_spans.into_iter().flat_map(|it| it.spans) {
            let span = Span {
                kind: span.kind(),
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                state: span.trace_state,
                began: span.start_time_unix_nano,
                ended: span.end_time_unix_nano,
                is_error: span.status.is_some_and(|status| status.code == 2),
                events: span.events,
                name: span.name,
                attributes: span.attributes,
                resource: resource.clone(),
                key: key.clone(),
                coding: coding.clone(),
            };
            spans.send_modify(|all| all.push(span));
        }
    }
}

struct Keeper(watch::Sender<Vec<Span>>);

#[tonic::async_trait]
impl TraceService for Keeper {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let field = |name| request.metadata().get(name)?.to_str().ok().map(str::to_owned);
        let (key, coding) = (field("x-key"), field("grpc-encoding"));
        keep(&self.0, request.into_inner(), key, coding);
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}
