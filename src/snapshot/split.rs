use crate::exchange::Exchange;
use crate::upstream::Pool;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use tidegate_http::cookie;

/// Requests of a route that go to another upstream.
#[derive(Debug)]
pub struct Split {
    /// Where they go.
    pub pool: Arc<Pool>,
    /// Which they are.
    pub when: When,
}

/// Which requests go elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum When {
    /// Those whose lot, of 100, is below this and was below none before.
    Below(u8),
    /// Those with this value of a header field.
    Header(HeaderName, HeaderValue),
    /// Those with this value of a cookie.
    Cookie(String, String),
}

/// The first of the splits that takes the request.
pub(crate) fn choose<'s>(
    splits: &'s [Split],
    headers: &HeaderMap,
    exchange: &Exchange,
) -> Option<&'s Arc<Pool>> {
    let mut lot = None;
    let taken = splits.iter().find(|split| match &split.when {
        When::Below(percent) => *lot.get_or_insert_with(|| draw(exchange)) < *percent,
        When::Header(name, value) => headers.get_all(name).iter().any(|it| it == value),
        When::Cookie(name, value) => cookie::find(headers, name) == Some(value.as_bytes()),
    });
    taken.map(|split| &split.pool)
}

/// A number from 0 to 99: always the same for a user of a route, or for an address where there
/// is no user, so that nobody is sent to and fro.
fn draw(exchange: &Exchange) -> u8 {
    let mut hasher = DefaultHasher::new();
    exchange.route().hash(&mut hasher);
    match (exchange.user_id(), exchange.client_address()) {
        (Some(user), _) => user.as_str().hash(&mut hasher),
        (None, address) => address.hash(&mut hasher),
    }
    (hasher.finish() % 100) as u8
}
