//! What the gateway carries, and whether it can take more: connections, requests, memory.

mod arrivals;
mod clients;
mod eviction;
mod in_flight;
mod memory;
mod overload;
mod places;

pub(crate) use arrivals::Arrivals;
pub(crate) use clients::{Client, Clients, RequestPermit, SharedRequest};
pub(crate) use eviction::Evictor;
pub(crate) use in_flight::{InFlight, Ticket};
pub(crate) use memory::watch as watch_memory;
pub(crate) use overload::Overload;
pub(crate) use places::{Door, Full, Place, Places, connections};
