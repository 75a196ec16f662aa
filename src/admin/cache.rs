//! `POST /cache/purge`: removes stored responses from the cache. Knows nothing of how the cache stores them.

use super::{AdminResult, error_result};
use crate::cache::{Cache, PurgeScope};
use http::StatusCode;
use serde_json::json;
use tidegate_http::{query, url};

/// Purges all responses, those of one URL, or those of all URLs with a prefix.
pub(super) fn purge(cache: &Cache, query: &str) -> AdminResult {
    let parameter = |name| query::find(query, name);
    let (all, one, prefix) = (parameter("all"), parameter("url"), parameter("prefix"));
    let scope = match (all.as_deref(), one, prefix) {
        (Some("true"), None, None) => PurgeScope::All,
        (None, Some(one), None) => PurgeScope::Url(normalize_path(&one)?),
        (None, None, Some(prefix)) => PurgeScope::Prefix(normalize_path(&prefix)?),
        _ => {
            return error_result(
                StatusCode::BAD_REQUEST,
                "give exactly one of the parameters `all=true`, `url` and `prefix`",
            );
        }
    };
    let purged = cache.store().map_or(0, |store| store.purge(&scope));
    match &scope {
        PurgeScope::All => log::info!("admin: purged all {purged} cached responses"),
        PurgeScope::Url(url) => {
            log::info!("admin: purged {purged} cached responses of {url}");
        }
        PurgeScope::Prefix(prefix) => {
            log::info!("admin: purged {purged} cached responses under the prefix {prefix}");
        }
    }
    Ok(json!({"purged": purged}))
}

fn normalize_path(written: &str) -> Result<String, (StatusCode, String)> {
    match url::parse(written) {
        Some(url) => Ok(url),
        None => error_result(
            StatusCode::BAD_REQUEST,
            "not a URL; write it as clients do, like `https://example.com/path`",
        ),
    }
}
