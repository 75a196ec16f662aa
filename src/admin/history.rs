//! `GET /history`, `POST /reload` and `POST /rollback`: lists the versions of the configuration, and requests another
//! one. Applies none itself; the server does.

use super::{Admin, AdminResult, error_result};
use crate::history::{Order, Version};
use http::StatusCode;
use serde_json::{Value, json};
use tidegate_http::query;
use tokio::sync::oneshot;

/// The versions, newest first, and the errors of the last edit if it was refused.
pub(super) fn list_versions(admin: &Admin) -> Value {
    let history = &admin.state.history;
    let time = |time| humantime::format_rfc3339_millis(time).to_string();
    let refusal = history.last_refusal();
    json!({
        "versions": history.versions().iter().rev().map(|it| version_json(it)).collect::<Vec<_>>(),
        "restart_needed": admin.state.current.restart_needed(),
        "refused": refusal.map(|it| json!({"time": time(it.time), "problems": it.problems})),
    })
}

fn version_json(version: &Version) -> Value {
    json!({
        "version": version.number,
        "time": humantime::format_rfc3339_millis(version.time).to_string(),
        "cause": version.cause.to_string(),
        "difference": version.difference,
        "text": version.difference.to_string(),
    })
}

/// Requests a reload of the files.
pub(super) async fn reload(admin: &Admin) -> AdminResult {
    order(admin, Order::Reload).await
}

/// Requests a rollback to a version.
pub(super) async fn rollback(admin: &Admin, query: &str) -> AdminResult {
    let to = match query::find(query, "version").map(|version| version.parse()) {
        None => None,
        Some(Ok(version)) => Some(version),
        Some(Err(_)) => return error_result(StatusCode::BAD_REQUEST, "`version` must be a number"),
    };
    if let Err(reason) = admin.state.history.find(to) {
        return error_result(StatusCode::NOT_FOUND, reason);
    }
    order(admin, |reply| Order::Rollback(to, reply)).await
}

async fn order(
    admin: &Admin,
    order: impl FnOnce(oneshot::Sender<Result<String, String>>) -> Order,
) -> AdminResult {
    let (reply, answer) = oneshot::channel();
    let gone = (StatusCode::SERVICE_UNAVAILABLE, "the gateway is stopping".to_owned());
    admin.orders.send(order(reply)).await.map_err(|_| gone.clone())?;
    match answer.await.map_err(|_| gone)? {
        Ok(done) => Ok(json!({"version": admin.state.current.load().number, "changes": done})),
        Err(problems) => error_result(StatusCode::CONFLICT, problems),
    }
}
