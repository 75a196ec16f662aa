//! The services behind the gateway: which endpoint takes the next request, and which can't.

mod balance;
mod breaker;
mod budget;
mod chosen;
mod connector;
mod counts;
mod descriptors;
mod dial;
mod discovery;
mod endpoint;
mod health;
mod pool;
mod probe;
mod reason;
mod schedule;
mod speech;

pub(crate) use balance::{Balance, Key};
pub(crate) use breaker::{Bound, Bounds, Breaker, Full, Place};
pub(crate) use budget::RetryBudget;
pub(crate) use chosen::Chosen;
pub(crate) use connector::{HTTP1, Http1Connector, PIECE};
pub(crate) use descriptors::{
    UseGuard, close_idle, has_room_for_copies, is_out_of_descriptors, is_out_of_files, is_scarce,
    set_limit as set_file_limit,
};
pub(crate) use dial::{CLOSING, Dialer, Handle, Line, Socket, begin_use, dial, is_of_dial};
pub(crate) use discovery::{Discovery, Found, Question, Records};
pub(crate) use endpoint::Endpoint;
pub(crate) use health::{Ejection, Health};
pub(crate) use pool::{Ask, EndpointSources, Pool, PoolSettings};
pub(crate) use probe::{Check, Probe, Probes};
pub(crate) use reason::deepest_cause;
pub(crate) use speech::{HTTP2_WINDOW, MAX_HTTP2_WINDOW, MIN_HTTP2_WINDOW, Speech};
