//! What the gateway reports: the access log, its own log, and counters for metrics. Decides nothing about requests.

mod access_log;
mod escape;
mod frames;
mod json;
pub(crate) mod keys;
pub(crate) mod log;
mod output;
mod recent;
mod requests;
mod sampling;
mod sink;
mod writer;

pub(crate) use access_log::{AccessLog, AccessLogFormat, FieldNames};
pub(crate) use recent::RecentLines;
pub(crate) use requests::{RequestTotals, RouteRequestCounters};
pub(crate) use sampling::Sampling;
pub(crate) use sink::{LineSink, LogTarget};
