//! The cache, asked and told.

use super::metrics::escaped;
use super::{Answer, refuse};
use crate::cache::{Cache, Scope, Shelf, Status};
use crate::generation::Generation;
use crate::http::{query, url};
use http::StatusCode;
use serde_json::json;
use std::fmt::Write as _;

/// Takes responses away: all, those of a URL, or of all that begin so.
pub(super) fn purge(cache: &Cache, query: &str) -> Answer {
    let parameter = |name| query::find(query, name);
    let (all, one, prefix) = (parameter("all"), parameter("url"), parameter("prefix"));
    let scope = match (all.as_deref(), one, prefix) {
        (Some("true"), None, None) => Scope::All,
        (None, Some(one), None) => Scope::Url(normal(&one)?),
        (None, None, Some(prefix)) => Scope::Prefix(normal(&prefix)?),
        _ => {
            return refuse(
                StatusCode::BAD_REQUEST,
                "say what is purged, by one of `all=true`, `url` and `prefix`",
            );
        }
    };
    let purged = cache.shelf().map_or(0, |shelf| shelf.purge(&scope));
    log::info!("admin: {purged} cached responses are purged: {scope:?}");
    Ok(json!({"purged": purged}))
}

fn normal(written: &str) -> Result<String, (StatusCode, String)> {
    match url::parse(written) {
        Some(url) => Ok(url),
        None => refuse(
            StatusCode::BAD_REQUEST,
            "it is no URL as clients write it, like `https://example.com/path`",
        ),
    }
}

type Sample = fn(&Shelf) -> u64;

const SAMPLES: [(&str, &str, &str, Sample); 5] = [
    ("bytes", "gauge", "Bytes of the responses that are kept.", |it| it.bytes() as u64),
    ("filling_bytes", "gauge", "Bytes of those on their way.", |it| it.filling() as u64),
    ("entries", "gauge", "Responses that are kept.", |it| it.entries() as u64),
    ("evictions_total", "counter", "Responses that made room.", |it| it.evictions() as u64),
    ("purged_total", "counter", "Responses that were purged.", Shelf::purged),
];

/// Appends what there is to count, in Prometheus' text format.
pub(super) fn write(text: &mut String, cache: &Cache, generation: &Generation) {
    let Some(shelf) = cache.shelf() else { return };
    for (name, kind, help, sample) in SAMPLES {
        // Writing into a string can't fail, here and below.
        let _ = writeln!(text, "# HELP tidegate_cache_{name} {help}");
        let _ = writeln!(text, "# TYPE tidegate_cache_{name} {kind}");
        let _ = writeln!(text, "tidegate_cache_{name} {}", sample(shelf));
    }
    text.push_str("# HELP tidegate_cache_requests_total Requests, by what the cache had to do.\n");
    text.push_str("# TYPE tidegate_cache_requests_total counter\n");
    for (_, route) in generation.table.iter() {
        let Some(policy) = &route.cache else { continue };
        for status in Status::ALL {
            let _ = writeln!(
                text,
                "tidegate_cache_requests_total{{route=\"{}\",status=\"{}\"}} {}",
                escaped(&route.name),
                status.as_str(),
                policy.counts.of(status)
            );
        }
    }
}
