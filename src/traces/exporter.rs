//! The bounded queue of finished spans, and the task that exports them in batches. Knows nothing of what a span says.

use super::{Collector, Span};
use crate::rate_limited_log::RateLimitedLog;
use opentelemetry_otlp::SpanExporter as Otlp;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanData, SpanExporter, SpanProcessor};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::runtime::Handle;

/// Maximum time to export the rest of the queue at the end.
const LAST_EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends spans in batches. Adding a span never waits: if the queue is full, the span is dropped.
#[derive(Debug)]
pub(crate) struct Exporter {
    collector: Collector,
    queue: OnceLock<Option<BatchSpanProcessor>>,
}

impl Exporter {
    /// One that has not begun.
    pub(crate) fn new(collector: Collector) -> Self {
        Self { collector, queue: OnceLock::new() }
    }

    /// Where the spans go.
    pub(crate) fn collector(&self) -> &Collector {
        &self.collector
    }

    /// Begins to send. It takes the runtime.
    pub(crate) fn start(&self) {
        self.queue.get_or_init(|| match self.collector.exporter() {
            Ok(otlp) => Some(BatchSpanProcessor::builder(self.watched(otlp)).build()),
            Err(error) => {
                log::error!(
                    "traces: cannot create the exporter for {}: {error}; no spans are sent",
                    self.collector.endpoint
                );
                None
            }
        });
    }

    fn watched(&self, otlp: Otlp) -> WatchedExporter {
        WatchedExporter {
            otlp: Arc::new(otlp),
            runtime: Handle::current(),
            endpoint: self.collector.endpoint.clone(),
            timeout: self.collector.timeout,
            failure_log: RateLimitedLog::default(),
            lost: AtomicU64::new(0),
        }
    }

    /// Takes a span that is over.
    pub(crate) fn queue_span(&self, span: Span) {
        if let Some(Some(queue)) = self.queue.get() {
            queue.on_end(span.into());
        }
    }

    /// Sends the queued spans and then accepts no more. Blocks.
    pub(crate) fn finish(&self) {
        if let Some(Some(queue)) = self.queue.get() {
            // What went wrong has been told.
            let _ = queue.shutdown_with_timeout(LAST_EXPORT_TIMEOUT);
        }
    }

    #[cfg(test)]
    pub(super) fn example() -> Self {
        Self::new(Collector {
            endpoint: "http://127.0.0.1:4318/v1/traces".to_owned(),
            protocol: super::CollectorProtocol::Http,
            headers: Vec::new(),
            timeout: LAST_EXPORT_TIMEOUT,
            service: "tidegate",
        })
    }
}

impl Drop for Exporter {
    /// The last request of an earlier configuration is over.
    fn drop(&mut self) {
        if let Some(Some(queue)) = self.queue.take() {
            // Whoever drops it may be a task, which must not block.
            let end = move || drop(queue.shutdown_with_timeout(LAST_EXPORT_TIMEOUT));
            let _ = std::thread::Builder::new().name("traces-end".to_owned()).spawn(end);
        }
    }
}

/// Sends batches in the gateway's runtime, and logs those that are lost.
#[derive(Debug)]
struct WatchedExporter {
    otlp: Arc<Otlp>,
    runtime: Handle,
    endpoint: String,
    timeout: Duration,
    failure_log: RateLimitedLog,
    lost: AtomicU64,
}

impl SpanExporter for WatchedExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let (otlp, timeout, count) = (Arc::clone(&self.otlp), self.timeout, batch.len() as u64);
        let sending = async move { tokio::time::timeout(timeout, otlp.export(batch)).await };
        let sent = match self.runtime.spawn(sending).await {
            Ok(Ok(sent)) => sent,
            Ok(Err(_)) => Err(OTelSdkError::Timeout(timeout)),
            Err(error) => Err(OTelSdkError::InternalFailure(error.to_string())),
        };
        if let Err(error) = &sent {
            let lost = self.lost.fetch_add(count, Ordering::Relaxed) + count;
            if self.failure_log.should_log() {
                let endpoint = &self.endpoint;
                log::warn!(
                    "traces: cannot send spans to {endpoint}: {error}; {lost} spans lost so far"
                );
            }
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.otlp.shutdown_with_timeout(timeout)
    }
}
