//! Collects the headers that a configuration sets, removes, trusts, matches or uses as a key. Knows nothing of
//! requests.

use super::{Compiler, header_name};
use crate::snapshot::{ManagedHeaders, Underscores};
use http::header::{self, HeaderName};
use tidegate_config::{self as config, HashKey, RateLimitBy, UserIdSource, defaults};
use tidegate_http::header_name;
use tidegate_http::proxy_headers::CONNECTION_HEADERS;

/// Headers that the gateway itself sets, removes or trusts in any configuration.
const BUILT_IN: [HeaderName; 29] = [
    header_name::X_FORWARDED_FOR,
    header_name::X_FORWARDED_PROTO,
    header_name::X_FORWARDED_HOST,
    header_name::X_REQUEST_ID,
    header_name::X_TIDEGATE_EXPLAIN,
    header_name::KEEP_ALIVE,
    header_name::PROXY_CONNECTION,
    header::PROXY_AUTHORIZATION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::TRANSFER_ENCODING,
    header::ACCEPT_ENCODING,
    header::CACHE_CONTROL,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
    header::ACCESS_CONTROL_REQUEST_METHOD,
    header::ACCESS_CONTROL_REQUEST_HEADERS,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_ACCEPT,
    header_name::GRPC_TIMEOUT,
    header_name::GRPC_ENCODING,
    header_name::X_GRPC_WEB,
];

impl Compiler<'_> {
    /// The request headers that clients must not set under another spelling.
    pub(super) fn managed_headers(&self) -> ManagedHeaders {
        let config = self.config;
        let mut written: Vec<&config::HeaderName> = Vec::new();
        let user_ids = config.identity.user_id.iter().filter_map(|source| match source {
            UserIdSource::Header(name) => Some(name),
            UserIdSource::Query(_) | UserIdSource::Cookie(_) | UserIdSource::Claim(_) => None,
        });
        written.extend(user_ids);
        let changes = config.routes.iter().map(|route| &route.headers).chain([&config.headers]);
        for changes in changes.map(|headers| &headers.request) {
            written.extend(changes.set.keys().chain(changes.add.keys()));
            written.extend(changes.remove.iter().map(|name| &name.value));
        }
        for route in &config.routes {
            written.extend(route.matches.headers.keys());
            written.extend(route.split.iter().flat_map(|split| split.headers.keys()));
            if let Some(config::CacheSetting::Policy(cache)) =
                route.cache.as_ref().map(|it| &it.value)
            {
                written.extend(cache.key_headers.iter().map(|name| &name.value));
            }
        }
        for scheme in config.authentication.values() {
            let from: &[_] = match &scheme.value {
                config::AuthenticationScheme::Forward(forward)
                | config::AuthenticationScheme::ExtAuthz(forward) => {
                    written.extend(forward.take.iter().map(|name| &name.value));
                    &[]
                }
                config::AuthenticationScheme::Jwt(jwt) => &jwt.from,
                config::AuthenticationScheme::ApiKeys(keys) => &keys.from,
                _ => &[],
            };
            written.extend(from.iter().filter_map(|source| match &source.value {
                config::TokenSource::Header(name) => Some(name),
                _ => None,
            }));
        }
        let required = config.routes.iter().map(|route| route.require.as_ref());
        for required in required.chain([config.require.as_ref()]).flatten() {
            if let config::RequireSetting::Settings(settings) = &required.value
                && let Some(source) = &settings.user_matches
                && let config::UserSource::Header(name) = &source.value
            {
                written.push(name);
            }
        }
        let limits = config.routes.iter().filter_map(|route| route.rate_limits.as_ref());
        for limit in limits.flatten().chain(&config.rate_limits) {
            if let RateLimitBy::Header(name) = &limit.by {
                written.push(name);
            }
        }
        for upstream in config.upstreams.values() {
            if let config::Balance::Hash(HashKey::Header(name)) = &upstream.balance {
                written.push(name);
            }
        }
        // Where clients put tokens and keys if nothing is written of that.
        let by_default = config.authentication.values().filter_map(|scheme| match &scheme.value {
            config::AuthenticationScheme::Jwt(jwt) if jwt.from.is_empty() => {
                Some(header::AUTHORIZATION)
            }
            config::AuthenticationScheme::ApiKeys(keys) if keys.from.is_empty() => {
                Some(header_name::X_API_KEY)
            }
            _ => None,
        });
        let written = written.into_iter().filter_map(header_name).chain(by_default);
        let fixed = BUILT_IN.into_iter().chain(CONNECTION_HEADERS.iter().cloned());
        let underscores = match config
            .limits
            .underscore_headers
            .unwrap_or(defaults::limits::UNDERSCORE_HEADERS)
        {
            config::Underscores::DropManaged => Underscores::DropManaged,
            config::Underscores::Drop => Underscores::Drop,
            config::Underscores::Reject => Underscores::Reject,
            config::Underscores::Allow => Underscores::Allow,
        };
        ManagedHeaders::new(underscores, fixed.chain(written))
    }
}
