//! The services behind the gateway: which endpoint takes the next request.

mod endpoint;
mod pool;
mod schedule;

pub use endpoint::Endpoint;
pub use pool::{Pool, Speech};
