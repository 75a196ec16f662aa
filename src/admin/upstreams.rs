//! `GET /upstreams`: the upstreams with their endpoints and the health of these. Checks no endpoint itself.

use crate::snapshot::Snapshot;
use crate::upstream::{Endpoint, Pool};
use serde_json::{Map, Value, json};

/// All upstreams.
pub(super) fn list_upstreams(snapshot: &Snapshot) -> Value {
    let upstreams = snapshot.pools.values().map(|pool| pool_json(pool)).collect::<Vec<_>>();
    json!({"version": snapshot.number, "upstreams": upstreams})
}

fn pool_json(pool: &Pool) -> Value {
    let counts = pool.counts();
    let attempts = counts.attempts().map(|(result, count)| (result.to_owned(), count.into()));
    json!({
        "name": &**pool.name(),
        "endpoints": pool.endpoints().iter().map(|it| endpoint(it)).collect::<Vec<_>>(),
        "attempts": attempts.collect::<Map<_, _>>(),
        "retries": counts.retries(),
        "ejections": counts.ejections(),
    })
}

fn endpoint(endpoint: &Endpoint) -> Value {
    let health = endpoint.health();
    json!({
        "address": endpoint.address_text(),
        "weight": endpoint.weight(),
        "backup": endpoint.is_backup(),
        "healthy": health.is_healthy(),
        "ejected": health.is_ejected_now(),
        "in_flight": health.in_flight(),
    })
}
