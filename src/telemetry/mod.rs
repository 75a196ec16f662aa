//! What the gateway tells: the access log, its own log, and what is counted for metrics.

mod access_log;
mod alarm;
mod escape;
mod frames;
mod histogram;
mod json;
pub mod log;
mod output;
mod recent;
mod requests;
mod sampling;
mod sink;
mod writer;

pub use crate::http::redact::redact as redact_secrets;
pub use access_log::{AccessLog, FieldNames, Format};
pub use alarm::Alarm;
pub use histogram::{BOUNDS, Exemplar, Histogram};
pub use recent::Recent;
pub use requests::{Requests, Tally};
pub use sampling::Sampling;
pub use sink::{Sink, Target};
