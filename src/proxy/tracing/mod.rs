//! Records requests as spans; in a build without the feature `opentelemetry` it records nothing. Knows nothing of
//! collectors.

#[cfg(not(feature = "opentelemetry"))]
mod absent;
#[cfg(feature = "opentelemetry")]
mod spans;

#[cfg(not(feature = "opentelemetry"))]
pub(super) use absent::{RequestTrace, answered, attempt, failed, opened, set_headers, start};
#[cfg(feature = "opentelemetry")]
pub(super) use spans::{RequestTrace, answered, attempt, failed, opened, set_headers, start};
