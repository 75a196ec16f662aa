//! Records requests as spans; in a build without the feature `opentelemetry` it records nothing. Knows nothing of
//! collectors.

#[cfg(not(feature = "opentelemetry"))]
mod absent;
#[cfg(feature = "opentelemetry")]
mod spans;

#[cfg(not(feature = "opentelemetry"))]
pub(super) use absent::{
    RequestTrace, record_failure, record_open, record_response, set_headers, start_attempt,
    start_trace,
};
#[cfg(feature = "opentelemetry")]
pub(super) use spans::{
    RequestTrace, record_failure, record_open, record_response, set_headers, start_attempt,
    start_trace,
};
