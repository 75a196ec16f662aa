//! Traces (OpenTelemetry): which requests are recorded, and how their spans reach a collector. Knows nothing of routes.

#[cfg(not(feature = "opentelemetry"))]
mod absent;
#[cfg(feature = "opentelemetry")]
mod collector;
#[cfg(feature = "opentelemetry")]
mod exporter;
#[cfg(feature = "opentelemetry")]
mod span;
#[cfg(feature = "opentelemetry")]
mod tracing;

#[cfg(not(feature = "opentelemetry"))]
pub(crate) use absent::Tracing;
#[cfg(feature = "opentelemetry")]
pub(crate) use collector::{Collector, CollectorProtocol};
#[cfg(feature = "opentelemetry")]
pub(crate) use exporter::Exporter;
#[cfg(feature = "opentelemetry")]
pub(crate) use span::Span;
#[cfg(feature = "opentelemetry")]
pub(crate) use tracing::{ParentSampling, Tracing, new_span_id};
