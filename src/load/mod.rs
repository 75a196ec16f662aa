//! What the gateway carries, and whether it can take more: connections, requests, memory.

mod arrivals;
mod clients;
mod eviction;
mod in_flight;
mod memory;
mod overload;
mod places;

pub use arrivals::Arrivals;
pub use clients::{Client, Clients, RequestPermit, SharedRequest};
pub use eviction::Evictor;
pub use in_flight::{InFlight, Ticket};
pub use memory::watch as watch_memory;
pub use overload::Overload;
pub use places::{Door, Full, Place, Places, connections};
