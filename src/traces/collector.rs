//! A collector of spans: its address, protocol and headers, and the client that sends to it. Knows nothing of requests.

use crate::tls::{provider, system_roots};
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use hyper_rustls::HttpsConnectorBuilder;
use opentelemetry::KeyValue;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
    tonic_types::transport::ClientTlsConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanExporter as _;
use rustls::ClientConfig;
use std::sync::Arc;
use std::time::Duration;
use tonic::metadata::{MetadataKey, MetadataMap, MetadataValue};

/// The protocol by which spans are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CollectorProtocol {
    /// OTLP by HTTP, in protobuf.
    Http,
    /// OTLP by gRPC.
    Grpc,
}

/// A collector and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Collector {
    /// Its URL; for HTTP that of the traces.
    pub endpoint: String,
    /// How it is spoken to.
    pub protocol: CollectorProtocol,
    /// What every request to it has beside what `OTEL_EXPORTER_OTLP_HEADERS` says.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How long it may take to take spans.
    pub timeout: Duration,
    /// The gateway's name, where the environment has none.
    pub service: &'static str,
}

impl Collector {
    /// What speaks to it. It takes the runtime.
    pub(super) fn exporter(&self) -> Result<SpanExporter, String> {
        let mut exporter = match self.protocol {
            CollectorProtocol::Http => self.http()?,
            CollectorProtocol::Grpc => self.grpc().map_err(|error| error.to_string())?,
        };
        exporter.set_resource(&self.resource());
        Ok(exporter)
    }

    /// By `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`, as the SDK reads them.
    fn resource(&self) -> Resource {
        let default_resource = Resource::builder().build();
        let name = default_resource.get(&"service.name".into()).map(|name| name.to_string());
        // What the SDK calls it when nobody has said how.
        if name.is_some_and(|name| !name.starts_with("unknown_service")) {
            return default_resource;
        }
        Resource::builder().with_attribute(KeyValue::new("service.name", self.service)).build()
    }

    fn http(&self) -> Result<SpanExporter, String> {
        let config = ClientConfig::builder_with_provider(Arc::clone(provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(Arc::clone(system_roots()))
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
        let client = HyperClient::new(connector.enable_http1().build(), self.timeout, None);
        SpanExporter::builder()
            .with_http()
            .with_endpoint(&self.endpoint)
            .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
            .with_timeout(self.timeout)
            .with_http_client(CollectorClient { inner: client, headers: self.headers.clone() })
            .build()
            .map_err(|error| error.to_string())
    }

    fn grpc(&self) -> Result<SpanExporter, ExporterBuildError> {
        let mut fields = MetadataMap::new();
        for (name, value) in &self.headers {
            let name = MetadataKey::from_bytes(name.as_str().as_bytes());
            if let (Ok(name), Ok(value)) = (name, MetadataValue::try_from(value.as_bytes())) {
                fields.insert(name, value);
            }
        }
        let mut builder = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&self.endpoint)
            .with_timeout(self.timeout)
            .with_interceptor(move |mut request: tonic::Request<()>| {
                for field in fields.iter() {
                    if let tonic::metadata::KeyAndValueRef::Ascii(name, value) = field {
                        request.metadata_mut().insert(name, value.clone());
                    }
                }
                Ok(request)
            });
        if self.endpoint.starts_with("https:") {
            builder = builder.with_tls_config(ClientTlsConfig::new().with_native_roots());
        }
        builder.build()
    }
}

/// Speaks HTTP with the collector. What the file says about header fields holds against what the
/// environment says, which the exporter has put there already.
#[derive(Debug)]
struct CollectorClient<C> {
    inner: C,
    headers: Vec<(HeaderName, HeaderValue)>,
}

#[async_trait]
impl<C: HttpClient> HttpClient for CollectorClient<C> {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        let sent = self.inner.send_bytes(request).await;
        if let Err(error) = &sent {
            // The exporter keeps the reason to itself.
            log::debug!("traces: sending spans failed: {error}");
        }
        sent
    }
}
