//! Compiles `retry` of a route. It knows nothing of endpoints.

use crate::snapshot::RetryPolicy;
use tidegate_config::{self as config, RetryOn, RetrySetting, Switch, defaults};

/// When a request is tried again.
pub(super) fn policy(written: Option<&RetrySetting>) -> RetryPolicy {
    let defaults = config::Retry::default();
    let settings = match written {
        Some(RetrySetting::Switch(Switch(false))) => {
            return RetryPolicy { attempts: 1, ..policy(None) };
        }
        Some(RetrySetting::Switch(Switch(true))) | None => &defaults,
        Some(RetrySetting::Settings(settings)) => settings,
    };
    let on = settings.on.as_deref().unwrap_or(&defaults::retry::ON);
    let status = |on: &RetryOn| match on {
        RetryOn::BadGateway => Some(502),
        RetryOn::ServiceUnavailable => Some(503),
        RetryOn::GatewayTimeout => Some(504),
        RetryOn::TooManyRequests => Some(429),
        RetryOn::ConnectFailure | RetryOn::Reset | RetryOn::Timeout => None,
    };
    RetryPolicy {
        attempts: settings.attempts.unwrap_or(defaults::retry::ATTEMPTS),
        on_connect_failure: on.contains(&RetryOn::ConnectFailure),
        on_reset: on.contains(&RetryOn::Reset),
        on_timeout: on.contains(&RetryOn::Timeout),
        on_status: on.iter().filter_map(status).collect(),
        backoff: settings.backoff.unwrap_or(defaults::retry::BACKOFF).0,
    }
}
