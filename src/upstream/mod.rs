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

pub use balance::{Balance, Key};
pub use breaker::{Bound, Bounds, Breaker, Full, Place};
pub use budget::RetryBudget;
pub use chosen::Chosen;
pub use connector::{HTTP1, Http1Connector, PIECE};
pub use descriptors::{
    UseGuard, close_idle, has_room_for_copies, is_out_of_descriptors, is_out_of_files, is_scarce,
    set_limit as set_file_limit,
};
pub use dial::{CLOSING, Dialer, Handle, Line, Socket, begin_use, dial, is_of_dial};
pub use discovery::{Discovery, Found, Question, Records};
pub use endpoint::Endpoint;
pub use health::{Ejection, Health};
pub use pool::{Ask, EndpointSources, Pool, PoolSettings};
pub use probe::{Check, Probe, Probes};
pub use reason::deepest_cause;
pub use speech::{HTTP2_WINDOW, MAX_HTTP2_WINDOW, MIN_HTTP2_WINDOW, Speech};
