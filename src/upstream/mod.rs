//! The services behind the gateway: which endpoint gets the next request, and which endpoints are unhealthy. Knows
//! nothing of routes.

mod balance;
mod breaker;
mod budget;
mod connector;
mod counts;
mod descriptors;
mod dial;
mod discovery;
mod endpoint;
mod health;
mod pool;
mod probe;
mod protocol;
mod reason;
mod schedule;
mod selected_endpoint;

pub(crate) use balance::{AffinityKey, Balance};
pub(crate) use breaker::{
    Breaker, ConcurrencyLimit, ConcurrencyLimits, UpstreamLimitExceeded, UpstreamPermit,
};
pub(crate) use budget::RetryBudget;
pub(crate) use connector::{HTTP1, Http1Connector, MAX_READ_BYTES};
pub(crate) use descriptors::{
    UseGuard, close_idle, has_room_for_copies, is_out_of_descriptors, is_out_of_files, is_scarce,
    set_limit as set_file_limit,
};
pub(crate) use dial::{
    CONNECTION_CLOSING, CutOffHandle, Dialer, RawSocket, SecondHandle, begin_use, dial,
    is_dial_error,
};
pub(crate) use discovery::{DiscoveredEndpoint, Discovery, DnsQuery, RecordKind};
pub(crate) use endpoint::Endpoint;
pub(crate) use health::{Ejection, Health};
pub(crate) use pool::{EndpointSources, Pool, PoolSettings, SelectionHint};
pub(crate) use probe::{Probe, ProbeCheck, Probes};
pub(crate) use protocol::{
    HTTP2_WINDOW, MAX_HTTP2_WINDOW_BYTES, MIN_HTTP2_WINDOW_BYTES, UpstreamProtocol,
};
pub(crate) use reason::deepest_cause;
pub(crate) use selected_endpoint::SelectedEndpoint;
