//! `limit_req` and its zones as rate limits. It does not know how routes are matched.

use super::scope::BlockScope;
use super::tree::Directive;
use crate::draft::{RateLimit, RateLimitBy, Route};
use crate::note::Notes;

/// The limits of a location.
pub(super) fn limit(route: &mut Route, scope: &BlockScope<'_>, notes: &mut Notes) {
    for directive in scope.all("limit_req") {
        let Some(limit) = imported_rate(directive, scope) else {
            let text = format!("`{}`: use `rate_limits` instead", directive.display());
            notes.left_out(&directive.position, text);
            continue;
        };
        let status = scope.value("limit_req_status").unwrap_or("503");
        if status != "429" {
            let text = format!("requests over the rate limit are answered with 429, not {status}");
            notes.changed(&directive.position, text);
        }
        if !directive.arguments.iter().any(|argument| argument == "nodelay") && limit.burst > 1 {
            let text = "Tidegate forwards requests within `burst` immediately; nginx delays them";
            notes.changed(&directive.position, text);
        }
        let text = "each route counts separately; nginx counts per zone";
        notes.changed(&directive.position, text);
        route.rate_limits.push(limit);
    }
}

fn imported_rate(directive: &Directive, scope: &BlockScope<'_>) -> Option<RateLimit> {
    let named =
        |name: &str| directive.arguments.iter().find_map(|argument| argument.strip_prefix(name));
    let wanted = named("zone=")?;
    let zones = scope.all("limit_req_zone");
    let zone = zones.iter().find(|zone| {
        let mut names = zone.arguments.iter().filter_map(|argument| argument.strip_prefix("zone="));
        names.any(|zone| zone.split(':').next() == Some(wanted))
    })?;
    let rate = zone.arguments.iter().find_map(|argument| argument.strip_prefix("rate="))?;
    let (requests, per) = match rate.strip_suffix("r/s") {
        Some(requests) => (requests, "1s"),
        None => (rate.strip_suffix("r/m")?, "1m"),
    };
    // nginx counts the requests beyond the one that the rate allows.
    let beyond: u32 = named("burst=").map_or(Some(0), |burst| burst.parse().ok())?;
    let key = zone.argument(0)?;
    let by = match key.strip_prefix('$')? {
        "binary_remote_addr" | "remote_addr" => RateLimitBy::ClientAddress,
        "server_name" | "host" => RateLimitBy::All,
        variable => match (variable.strip_prefix("http_"), variable.strip_prefix("cookie_")) {
            (Some(field), _) => RateLimitBy::Header(field.replace('_', "-")),
            (None, Some(cookie)) => RateLimitBy::Cookie(cookie.to_owned()),
            (None, None) => return None,
        },
    };
    let requests = requests.parse().ok().filter(|requests| *requests > 0)?;
    Some(RateLimit { requests, per: per.to_owned(), burst: beyond + 1, by })
}
