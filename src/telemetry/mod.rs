//! What the gateway tells: the access log, its own log, and what is counted for metrics.

mod access_log;
mod alarm;
mod frames;
mod histogram;
mod json;
pub mod log;
mod recent;
mod redact;
mod requests;
mod sink;

pub use access_log::{AccessLog, Format};
pub use alarm::Alarm;
pub use histogram::{BOUNDS, Histogram};
pub use recent::Recent;
pub use requests::{Requests, Tally};
pub use sink::{Sink, Target};
