//! The load of the gateway and its limits: connections, requests, memory. Knows nothing of routes.

mod arrivals;
mod clients;
mod collected_bodies;
mod connection_limiter;
mod eviction;
mod in_flight;
mod memory;
mod overload;

pub(crate) use arrivals::AcceptedConnections;
pub(crate) use clients::{ClientLoad, Clients, RequestPermit, SharedRequest};
pub(crate) use collected_bodies::{CollectedBytes, CollectedLimit};
pub(crate) use connection_limiter::{
    ConnectionLimiter, ConnectionPermit, LimitExceeded, ListenerConnections, max_connections,
};
pub(crate) use eviction::Evictor;
pub(crate) use in_flight::{InFlight, InFlightGuard};
pub(crate) use memory::watch as watch_memory;
pub(crate) use overload::OverloadControl;
