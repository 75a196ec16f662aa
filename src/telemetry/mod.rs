//! What the gateway tells: the access log, and its own log.

mod access_log;
mod alarm;
mod frames;
mod json;
pub mod log;
mod redact;
mod sink;

pub use access_log::{AccessLog, Format};
pub use alarm::Alarm;
pub use sink::{Sink, Target};
