//! The options of the module `express-rate-limit` as a rate limit. It does not know where a program uses the
//! module.

use super::value::{Call, Value};
use crate::draft::{RateLimit, RateLimitBy};
use crate::note::{Notes, SourcePosition};

/// Maximum period of a rate limit, in milliseconds.
const MAX_PERIOD_MILLIS: u64 = 24 * 60 * 60 * 1000;

pub(super) fn is_limit(name: &str) -> bool {
    ["express-rate-limit", "express-rate-limit.rateLimit", "express-rate-limit.default"]
        .contains(&name)
}

/// The limit of a call; `None` if it can't be converted.
pub(super) fn limit(
    call: &Call<'_>,
    position: &SourcePosition,
    notes: &mut Notes,
) -> Option<RateLimit> {
    let options = call.arguments.first();
    let get = |key: &str| options.and_then(|options| options.get(key));
    let number = |value: Option<&Value<'_>>, default: u64| match value {
        None => Some(default),
        Some(value) => value.plain()?.parse().ok(),
    };
    let is_seen = options
        .is_none_or(|options| matches!(options, Value::Object(_)) && options.get("...").is_none());
    let requests = number(get("limit").or(get("max")), 5)
        .and_then(|requests| u32::try_from(requests).ok())
        .filter(|requests| (1..=1_000_000).contains(requests));
    let window =
        number(get("windowMs"), 60_000).filter(|window| (1..=MAX_PERIOD_MILLIS).contains(window));
    let (Some(requests), Some(window), true) = (requests, window, is_seen) else {
        let text = "a rate limit whose options are computed at run time or out of range; use `rate_limits` \
             instead, such as `[{requests: 100, per: 1m}]`";
        notes.left_out(position, text);
        return None;
    };
    let mut is_carried = true;
    for field in options.map(Value::fields).unwrap_or_default() {
        let key = field.key.as_str();
        match key {
            "keyGenerator" => {
                let text = "`keyGenerator` is code: Tidegate counts by address, user, header or cookie; \
                    use `rate_limits[].by` instead";
                notes.left_out(position, text);
                is_carried = false;
            }
            "store" => notes.left_out(position, "`store`: use `shared_counters` instead"),
            "skip" | "handler" | "requestWasSuccessful" => {
                notes.left_out(
                    position,
                    format!("`{key}` is code, which the import does not convert"),
                );
            }
            "skipFailedRequests" | "skipSuccessfulRequests" if field.value.is_true() => {
                notes.changed(position, format!("`{key}`: the rate limit counts all requests"));
            }
            "statusCode" if field.value.plain().as_deref() != Some("429") => {
                notes.changed(position, "requests over the rate limit are answered with 429");
            }
            "message" => {
                notes.changed(
                    position,
                    "`message`: error responses are the gateway's own; use `error_pages` instead",
                );
            }
            _ => {}
        }
    }
    if !is_carried {
        return None;
    }
    let text = "requests become available again one by one, not all at once at the end of the window; \
        each route counts separately, WebSocket handshakes included; of the rate limit headers only `Retry-After` is sent, when the limit is exceeded";
    notes.changed(position, text);
    let per = match window {
        window if window % 60_000 == 0 => format!("{}m", window / 60_000),
        window if window % 1_000 == 0 => format!("{}s", window / 1_000),
        window => format!("{window}ms"),
    };
    Some(RateLimit { requests, per, burst: requests, by: RateLimitBy::ClientAddress })
}
