//! What becomes of a request, as spans; in a build without the feature `opentelemetry`, nothing.

#[cfg(not(feature = "opentelemetry"))]
mod absent;
#[cfg(feature = "opentelemetry")]
mod spans;

#[cfg(not(feature = "opentelemetry"))]
pub(super) use absent::{RequestTrace, answered, attempt, failed, opened, set_headers, start};
#[cfg(feature = "opentelemetry")]
pub(super) use spans::{RequestTrace, answered, attempt, failed, opened, set_headers, start};
