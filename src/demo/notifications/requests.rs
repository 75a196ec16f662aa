//! Answers the requests over HTTP, after it has validated their input. Knows nothing of WebSockets.

use super::hub::{Inbox, Notification, NotificationHub};
use super::problem::Problem;
use axum::{
    Json,
    extract::{
        Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::StatusCode,
};
use serde::Deserialize;
use serde_json::json;
use std::{sync::Arc, time::SystemTime};

/// Characters of a user id.
const MAX_USER_ID_CHARS: usize = 128;
/// Characters of a title.
const MAX_TITLE_CHARS: usize = 200;
/// Characters of a body.
const MAX_BODY_CHARS: usize = 2_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UserQuery {
    user_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewNotification {
    user_id: String,
    title: String,
    #[serde(default)]
    body: String,
}

fn checked_user_id(id: String) -> Result<String, Problem> {
    if id.is_empty() {
        return Err(Problem::bad_request("userId is empty"));
    }
    if id.chars().any(char::is_control) {
        return Err(Problem::bad_request("userId holds a control character"));
    }
    at_most("userId", MAX_USER_ID_CHARS, id)
}

fn at_most(what: &str, max: usize, text: String) -> Result<String, Problem> {
    if text.chars().count() > max {
        return Err(Problem::bad_request(format!("{what} is longer than {max} characters")));
    }
    Ok(text)
}

/// The `userId` of the query, checked.
pub(super) fn user_from_query(
    query: Result<Query<UserQuery>, QueryRejection>,
) -> Result<String, Problem> {
    let Query(UserQuery { user_id }) =
        query.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    checked_user_id(
        user_id.ok_or_else(|| Problem::bad_request("the query lacks userId: ?userId=user-1"))?,
    )
}

pub(super) async fn health() -> Json<serde_json::Value> {
    Json(json!({ "status": "ok" }))
}

pub(super) async fn list(
    State(hub): State<Arc<NotificationHub>>,
    query: Result<Query<UserQuery>, QueryRejection>,
) -> Result<Json<Inbox>, Problem> {
    let user_id = user_from_query(query)?;
    // Asking makes no user: a poll of a thousand names must not push the real ones out.
    let notifications: Vec<_> = hub
        .users()
        .by_id
        .get(&user_id)
        .map(|user| user.inbox.iter().cloned().collect())
        .unwrap_or_default();
    Ok(Json(Inbox {
        user_id,
        unread: notifications.iter().filter(|each| !each.read).count(),
        notifications,
    }))
}

pub(super) async fn create(
    State(hub): State<Arc<NotificationHub>>,
    body: Result<Json<NewNotification>, JsonRejection>,
) -> Result<(StatusCode, Json<Notification>), Problem> {
    let Json(new) = body?;
    let notification = Notification {
        id: uuid::Uuid::now_v7().to_string(),
        user_id: checked_user_id(new.user_id)?,
        title: at_most("title", MAX_TITLE_CHARS, new.title)?,
        body: at_most("body", MAX_BODY_CHARS, new.body)?,
        created_at: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
        read: false,
    };
    if notification.title.trim().is_empty() {
        return Err(Problem::bad_request("title is empty"));
    }
    hub.users()
        .entry(&notification.user_id)
        .ok_or_else(|| Problem::too_many("users"))?
        .add(notification.clone());
    Ok((StatusCode::CREATED, Json(notification)))
}

pub(super) async fn mark_read(
    State(hub): State<Arc<NotificationHub>>,
    query: Result<Query<UserQuery>, QueryRejection>,
) -> Result<Json<serde_json::Value>, Problem> {
    let user_id = user_from_query(query)?;
    let mut marked = 0;
    if let Some(user) = hub.users().by_id.get_mut(&user_id) {
        for notification in user.inbox.iter_mut().filter(|each| !each.read) {
            notification.read = true;
            marked += 1;
        }
    }
    Ok(Json(json!({ "userId": user_id, "marked": marked })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_id_must_be_present_printable_and_short() {
        for bad in ["", "a\nb", &"x".repeat(MAX_USER_ID_CHARS + 1)] {
            assert!(checked_user_id(bad.into()).is_err(), "{bad:?}");
        }
        assert!(checked_user_id("Zoë 🦀".into()).is_ok());
    }
}
