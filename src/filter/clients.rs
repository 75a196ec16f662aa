//! The filter that refuses clients by their addresses. Knows nothing of where the lists are written.

use super::{Error, Filter, Flow, Reply, Request};
use async_trait::async_trait;
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;
use tidegate_http::error_code::ErrorCode;
use tidegate_http::stable_hash::{StableHash, StableHasher};

/// One pair of lists: of the whole gateway, or of a route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ClientLists {
    /// Networks whose clients are admitted; all are if there is none.
    pub(crate) allow: Vec<IpNet>,
    /// Networks whose clients are refused, even if they are allowed.
    pub(crate) deny: Vec<IpNet>,
}

/// Answers 403 to clients that one of its lists does not admit.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClientsFilter {
    /// All must admit the client.
    pub(crate) lists: Vec<Arc<ClientLists>>,
}

impl ClientLists {
    /// Whether there is nothing to check.
    pub(crate) fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    /// Whether a client with this address is admitted. One whose address is unknown is admitted only where no network
    /// is listed as allowed.
    pub(crate) fn admit(&self, client: Option<IpAddr>) -> bool {
        let contains = |networks: &[IpNet]| {
            client.is_some_and(|client| networks.iter().any(|network| network.contains(&client)))
        };
        (self.allow.is_empty() || contains(&self.allow)) && !contains(&self.deny)
    }
}

impl StableHash for ClientsFilter {
    fn feed(&self, hasher: &mut StableHasher) {
        for lists in &self.lists {
            let network = |network: &IpNet| (network.addr(), network.prefix_len());
            hasher.list(lists.allow.iter().map(network));
            hasher.list(lists.deny.iter().map(network));
        }
    }
}

/// The answer to a client whose address is not admitted.
pub(crate) fn refuse_address() -> Reply {
    let message = "clients with this address are not admitted here";
    Reply::gateway_error(ErrorCode::AddressNotAllowed, message)
}

#[async_trait]
impl Filter for ClientsFilter {
    fn describe(&self) -> String {
        let join = |networks: &[IpNet]| {
            networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        let lists = self.lists.iter().map(|lists| match (&*lists.allow, &*lists.deny) {
            ([], deny) => format!("deny {}", join(deny)),
            (allow, []) => format!("allow {}", join(allow)),
            (allow, deny) => format!("allow {}, deny {}", join(allow), join(deny)),
        });
        format!("clients: {}", lists.collect::<Vec<_>>().join("; "))
    }

    async fn on_request(&self, request: &mut Request<'_>) -> Result<Flow, Error> {
        let client = request.exchange().client_address();
        match self.lists.iter().all(|lists| lists.admit(client)) {
            true => Ok(Flow::Continue),
            false => Ok(Flow::Respond(refuse_address())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denied_network_within_an_allowed_one_is_refused() {
        let networks = |text: &str| text.split_whitespace().map(|it| it.parse().unwrap()).collect();
        let lists =
            ClientLists { allow: networks("10.0.0.0/8 ::1/128"), deny: networks("10.0.9.0/24") };
        let admits = |client: &str| lists.admit(Some(client.parse().unwrap()));
        assert!(admits("10.1.2.3") && admits("::1"));
        assert!(!admits("10.0.9.1") && !admits("192.0.2.1"));
        assert!(!lists.admit(None));
        assert!(ClientLists { allow: Vec::new(), ..lists }.admit(None));
    }
}
