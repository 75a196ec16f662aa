//! The filter that answers 503 during maintenance. It knows nothing of upstreams.

use super::{Error, Filter, Flow, Reply, Request};
use async_trait::async_trait;
use http::header::{self, HeaderValue};
use ipnet::IpNet;
use tidegate_http::error_code::ErrorCode;
use tidegate_http::stable_hash::{StableHash, StableHasher};

/// Answers 503 while the service is looked after.
#[derive(Debug)]
pub(crate) struct MaintenanceFilter {
    /// After how many seconds clients may come back.
    pub retry_after: u64,
    /// Networks whose clients are let through.
    pub allow: Vec<IpNet>,
    /// The message for people.
    pub message: String,
}

impl StableHash for MaintenanceFilter {
    fn feed(&self, hasher: &mut StableHasher) {
        let Self { retry_after, allow, message } = self;
        let allow = allow.iter().map(|network| (network.addr(), network.prefix_len()));
        retry_after.feed(hasher);
        hasher.list(allow);
        message.feed(hasher);
    }
}

#[async_trait]
impl Filter for MaintenanceFilter {
    fn describe(&self) -> String {
        let allow = self.allow.iter().map(ToString::to_string).collect::<Vec<_>>();
        let but =
            if allow.is_empty() { String::new() } else { format!(" except {}", allow.join(" ")) };
        format!(
            "maintenance: for all clients{but}, retry after {}s, {:?}",
            self.retry_after, self.message
        )
    }

    async fn on_request(&self, request: &mut Request<'_>) -> Result<Flow, Error> {
        let client = request.exchange().client_address();
        if client.is_some_and(|client| self.allow.iter().any(|network| network.contains(&client))) {
            return Ok(Flow::Continue);
        }
        let reply = Reply::gateway_error(ErrorCode::Maintenance, self.message.as_str());
        Ok(Flow::Respond(reply.header(header::RETRY_AFTER, HeaderValue::from(self.retry_after))))
    }
}
