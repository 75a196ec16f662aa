//! The notification service: a push to every open WebSocket of a user, and the same over HTTP. Knows nothing of the
//! gateway.
//!
//! | request | answer |
//! |---|---|
//! | WebSocket at `/`, `/ws`, `/api/notifications/ws` with `?userId=` | `connected`, then a `notification` each |
//! | `GET /api/notification?userId=` | the newest [`MAX_INBOX`], newest first |
//! | `POST /api/notification` `{userId, title, body}` | 201, and a push |
//! | `POST /api/notification/read?userId=` | all of them marked as read |
//! | `GET /health` | `{"status":"ok"}` |
//!
//! It does not handle CORS, which is the gateway's work: its own headers would hide that the gateway's are missing. For the
//! same reason it sends no WebSocket pings, which would hide a gateway that closes idle tunnels.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use axum::{
    Json, Router,
    extract::{
        DefaultBodyLimit, Query, State,
        rejection::{JsonRejection, QueryRejection},
        ws::{
            CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code,
            rejection::WebSocketUpgradeRejection,
        },
    },
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::{
        broadcast::{self, error::RecvError},
        watch,
    },
    time,
};

/// Maximum number of notifications per user; the oldest one makes room.
const MAX_INBOX: usize = 100;
/// Maximum number of users; the least recently active one without an open socket makes room.
const MAX_USERS: usize = 1_000;
/// Maximum number of open sockets of all users.
const MAX_SOCKETS: usize = 10_000;
/// Maximum number of pushes that wait for a slow socket before it misses some.
const MAX_WAITING: usize = 64;
/// Characters of a user id.
const MAX_USER_ID: usize = 128;
/// Characters of a title.
const MAX_TITLE: usize = 200;
/// Characters of a body.
const MAX_BODY: usize = 2_000;
/// Bytes of a request's body, and of a WebSocket message.
const MAX_MESSAGE: usize = 16 * 1024;
/// Maximum time of a write to a socket, so that a client that does not read cannot keep a task.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to answer a close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves the notification service on `listener` until `shutdown` completes.
///
/// The end is orderly: every open WebSocket is closed with code 1001 ("going away"), requests in
/// flight are answered, and both are bounded in time.
///
/// # Errors
///
/// Fails when the listener has no local address.
pub(crate) async fn serve(
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let hub = Arc::new(NotificationHub::default());
    let closing = hub.closing.clone();
    super::serve_until(listener, router(hub), closing, shutdown).await
}

fn router(hub: Arc<NotificationHub>) -> Router {
    Router::new()
        // The gateway rewrites the public path to `/`; the other two serve a client that comes
        // directly, or through a gateway that rewrites nothing.
        .route("/", get(open_socket))
        .route("/ws", get(open_socket))
        .route("/api/notifications/ws", get(open_socket))
        .route("/api/notification", get(list).post(create))
        .route("/api/notification/read", post(mark_read))
        .route("/health", get(health))
        .fallback(async || Problem::not_found())
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(DefaultBodyLimit::max(MAX_MESSAGE))
        .layer(middleware::map_response(forbid_caching))
        .with_state(hub)
}

/// A poll must never be answered from a cache.
async fn forbid_caching(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

// ---- What is kept ------------------------------------------------------------------------------

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Notification {
    id: String,
    user_id: String,
    title: String,
    body: String,
    created_at: String,
    read: bool,
}

/// The response to a poll.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Inbox {
    user_id: String,
    unread: usize,
    /// Newest first.
    notifications: Vec<Notification>,
}

/// A message to a socket.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase", rename_all_fields = "camelCase")]
enum PushMessage<'a> {
    Connected {
        user_id: &'a str,
    },
    Notification {
        notification: &'a Notification,
    },
    /// The socket was too slow for `count` pushes; the list has them.
    Missed {
        count: u64,
    },
    Pong,
}

impl PushMessage<'_> {
    fn text(&self) -> Utf8Bytes {
        // Strings, numbers and a bool: nothing that serde_json could refuse.
        serde_json::to_string(self).unwrap_or_default().into()
    }
}

struct User {
    /// Newest first.
    inbox: VecDeque<Notification>,
    /// The channel to all sockets of the user. It is bounded: a slow socket loses the oldest messages and gets `missed`,
    /// and the sender never waits.
    pushes: broadcast::Sender<Utf8Bytes>,
    /// The hub's clock when the user was last active.
    last_used: u64,
}

/// The state of the service. It lives as long as the process.
struct NotificationHub {
    users: Mutex<Users>,
    /// Turns true at shutdown. Each socket holds a receiver, which also counts the open sockets.
    closing: watch::Sender<bool>,
}

#[derive(Default)]
struct Users {
    by_id: HashMap<String, User>,
    clock: u64,
}

impl Default for NotificationHub {
    fn default() -> Self {
        Self { users: Mutex::default(), closing: watch::Sender::new(false) }
    }
}

impl NotificationHub {
    /// Held for a few map operations, never across an await.
    fn users(&self) -> MutexGuard<'_, Users> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Users {
    /// The user with this id, created if needed. `None` if the service is full.
    fn entry(&mut self, id: &str) -> Option<&mut User> {
        if !self.by_id.contains_key(id) && self.by_id.len() >= MAX_USERS {
            let idle = self
                .by_id
                .iter()
                .filter(|(_, user)| user.pushes.receiver_count() == 0)
                .min_by_key(|(_, user)| user.last_used)
                .map(|(id, _)| id.clone())?;
            self.by_id.remove(&idle);
        }
        self.clock += 1;
        let user = self.by_id.entry(id.to_owned()).or_insert_with(|| User {
            inbox: VecDeque::new(),
            pushes: broadcast::Sender::new(MAX_WAITING),
            last_used: 0,
        });
        user.last_used = self.clock;
        Some(user)
    }
}

impl User {
    fn add(&mut self, notification: Notification) {
        let push = PushMessage::Notification { notification: &notification };
        // It fails only when no socket is open, and then the inbox is all there is to do.
        let _ = self.pushes.send(push.text());
        self.inbox.truncate(MAX_INBOX - 1);
        self.inbox.push_front(notification);
    }
}

// ---- HTTP --------------------------------------------------------------------------------------

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UserQuery {
    user_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewNotification {
    user_id: String,
    title: String,
    #[serde(default)]
    body: String,
}

/// An error as the gateway writes its own: a word for programs, a sentence for people.
struct Problem {
    status: StatusCode,
    error: &'static str,
    message: String,
}

impl Problem {
    fn bad_request(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error: "bad_request", message: message.into() }
    }

    /// The problem for a request that axum rejected.
    fn refused(status: StatusCode, message: String) -> Self {
        let (status, error) = match status {
            StatusCode::METHOD_NOT_ALLOWED => (status, "method_not_allowed"),
            StatusCode::PAYLOAD_TOO_LARGE => (status, "payload_too_large"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => (status, "unsupported_media_type"),
            // "Unprocessable" is only ever a wrong field here.
            _ => (StatusCode::BAD_REQUEST, "bad_request"),
        };
        Self { status, error, message }
    }

    fn not_found() -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            error: "not_found",
            message: "the notification service has nothing at this path".into(),
        }
    }

    fn method_not_allowed() -> Self {
        Self {
            status: StatusCode::METHOD_NOT_ALLOWED,
            error: "method_not_allowed",
            message: "this path does not take this method".into(),
        }
    }

    fn too_many(what: &str) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            error: "full",
            message: format!("too many {what}; try again later"),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.error, "message": self.message });
        (self.status, Json(body)).into_response()
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self::refused(rejection.status(), rejection.body_text())
    }
}

fn checked_user_id(id: String) -> Result<String, Problem> {
    if id.is_empty() {
        return Err(Problem::bad_request("userId is empty"));
    }
    if id.chars().any(char::is_control) {
        return Err(Problem::bad_request("userId holds a control character"));
    }
    at_most("userId", MAX_USER_ID, id)
}

fn at_most(what: &str, max: usize, text: String) -> Result<String, Problem> {
    if text.chars().count() > max {
        return Err(Problem::bad_request(format!("{what} is longer than {max} characters")));
    }
    Ok(text)
}

/// The `userId` of the query, checked.
fn user_from_query(query: Result<Query<UserQuery>, QueryRejection>) -> Result<String, Problem> {
    let Query(UserQuery { user_id }) =
        query.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    checked_user_id(
        user_id.ok_or_else(|| Problem::bad_request("the query lacks userId: ?userId=user-1"))?,
    )
}

async fn health() -> Json<serde_json::Value> {
    Json(json!({ "status": "ok" }))
}

async fn list(
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

async fn create(
    State(hub): State<Arc<NotificationHub>>,
    body: Result<Json<NewNotification>, JsonRejection>,
) -> Result<(StatusCode, Json<Notification>), Problem> {
    let Json(new) = body?;
    let notification = Notification {
        id: uuid::Uuid::now_v7().to_string(),
        user_id: checked_user_id(new.user_id)?,
        title: at_most("title", MAX_TITLE, new.title)?,
        body: at_most("body", MAX_BODY, new.body)?,
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

async fn mark_read(
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

// ---- WebSocket ---------------------------------------------------------------------------------

async fn open_socket(
    State(hub): State<Arc<NotificationHub>>,
    headers: HeaderMap,
    query: Result<Query<UserQuery>, QueryRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) if headers.contains_key(header::UPGRADE) => {
            return Err(Problem::refused(rejection.status(), rejection.body_text()));
        }
        // RFC 9110, 15.5.22: a 426 names the protocol that it wants.
        Err(_) => {
            let problem = Problem {
                status: StatusCode::UPGRADE_REQUIRED,
                error: "upgrade_required",
                message: "this path speaks WebSocket".into(),
            };
            let required = [(header::UPGRADE, "websocket"), (header::CONNECTION, "upgrade")];
            return Ok((required, problem).into_response());
        }
    };
    let user_id = user_from_query(query)?;
    if hub.closing.receiver_count() >= MAX_SOCKETS {
        return Err(Problem::too_many("sockets"));
    }
    // Both before the answer: from the client's `open` on it misses no push, and the shutdown
    // waits for a socket that is only just being opened.
    let closing = hub.closing.subscribe();
    let pushes =
        hub.users().entry(&user_id).ok_or_else(|| Problem::too_many("users"))?.pushes.subscribe();
    Ok(upgrade
        .max_message_size(MAX_MESSAGE)
        .on_upgrade(move |socket| serve_socket(socket, user_id, pushes, closing)))
}

/// One open WebSocket, from its greeting to its end. `closing` is held to the end: the shutdown
/// waits for it.
async fn serve_socket(
    mut socket: WebSocket,
    user_id: String,
    pushes: broadcast::Receiver<Utf8Bytes>,
    mut closing: watch::Receiver<bool>,
) {
    log::debug!("socket of {user_id:?} opened");
    let going_away = tokio::select! {
        () = exchange_messages(&mut socket, &user_id, pushes) => false,
        _ = closing.wait_for(|closing| *closing) => true,
    };
    if going_away {
        send_going_away(&mut socket).await;
    }
    log::debug!("socket of {user_id:?} closed");
}

/// Sends the messages for one client, until it disconnects.
async fn exchange_messages(
    socket: &mut WebSocket,
    user_id: &str,
    mut pushes: broadcast::Receiver<Utf8Bytes>,
) {
    let mut text = PushMessage::Connected { user_id }.text();
    loop {
        let sent = time::timeout(WRITE_TIMEOUT, socket.send(Message::Text(text))).await;
        // Gone, or so slow that it is as good as gone.
        let Ok(Ok(())) = sent else { return };
        text = loop {
            tokio::select! {
                push = pushes.recv() => match push {
                    Ok(push) => break push,
                    Err(RecvError::Lagged(count)) => break PushMessage::Missed { count }.text(),
                    // The user is kept while it has a socket, so this is not reached.
                    Err(RecvError::Closed) => return,
                },
                message = socket.recv() => match message {
                    Some(Ok(Message::Text(text))) if text.as_str() == "ping" => {
                        break PushMessage::Pong.text();
                    }
                    // axum answers pings itself, and a close with the code that came: the next
                    // `recv` sends that answer and ends.
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return,
                },
            }
        };
    }
}

/// Closes with 1001, and waits a little for the client's answer: without it the client would see
/// a connection that broke (1006) and not one that ended.
async fn send_going_away(socket: &mut WebSocket) {
    let farewell = Message::Close(Some(CloseFrame {
        code: close_code::AWAY,
        reason: "the service is shutting down".into(),
    }));
    let goodbye = async {
        if socket.send(farewell).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    // A client that does not answer has had its chance.
    let _ = time::timeout(CLOSE_TIMEOUT, goodbye).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notification(title: &str) -> Notification {
        Notification {
            id: title.into(),
            user_id: "user-1".into(),
            title: title.into(),
            body: String::new(),
            created_at: String::new(),
            read: false,
        }
    }

    #[test]
    fn inbox_keeps_the_newest_100_newest_first() {
        let mut users = Users::default();
        let user = users.entry("user-1").expect("there is room");
        for number in 0..=MAX_INBOX {
            user.add(notification(&number.to_string()));
        }
        assert_eq!(user.inbox.len(), MAX_INBOX);
        assert_eq!(user.inbox[0].title, MAX_INBOX.to_string());
        assert_eq!(user.inbox[MAX_INBOX - 1].title, "1");
    }

    #[test]
    fn new_user_replaces_the_longest_idle_user_without_a_socket() {
        let mut users = Users::default();
        let mut socket = None;
        for number in 0..MAX_USERS {
            let user = users.entry(&number.to_string()).expect("there is room");
            if number == 0 {
                socket = Some(user.pushes.subscribe());
            }
        }
        users.entry("1").expect("a known user is always let in");
        users.entry("new").expect("somebody is idle");
        assert_eq!(users.by_id.len(), MAX_USERS);
        assert!(users.by_id.contains_key("0"), "it has an open socket");
        assert!(users.by_id.contains_key("1"), "it was just heard of");
        assert!(!users.by_id.contains_key("2"), "it was idle for longest");
        drop(socket);
    }

    #[test]
    fn new_user_is_refused_when_all_users_have_open_sockets() {
        let mut users = Users::default();
        let sockets: Vec<_> = (0..MAX_USERS)
            .filter_map(|number| Some(users.entry(&number.to_string())?.pushes.subscribe()))
            .collect();
        assert!(users.entry("new").is_none());
        drop(sockets);
        assert!(users.entry("new").is_some());
    }

    #[test]
    fn slow_socket_misses_pushes_and_blocks_nobody() {
        let mut users = Users::default();
        let user = users.entry("user-1").expect("there is room");
        let mut slow = user.pushes.subscribe();
        for number in 0..MAX_WAITING + 5 {
            user.add(notification(&number.to_string()));
        }
        assert!(matches!(slow.try_recv(), Err(broadcast::error::TryRecvError::Lagged(5))));
    }

    #[test]
    fn pushes_have_the_documented_json_shape() {
        let text = |push: PushMessage<'_>| push.text().to_string();
        assert_eq!(
            text(PushMessage::Connected { user_id: "user-1" }),
            r#"{"type":"connected","userId":"user-1"}"#
        );
        assert_eq!(text(PushMessage::Pong), r#"{"type":"pong"}"#);
        assert_eq!(
            text(PushMessage::Notification { notification: &notification("Hello") }),
            concat!(
                r#"{"type":"notification","notification":{"id":"Hello","userId":"user-1","#,
                r#""title":"Hello","body":"","createdAt":"","read":false}}"#
            )
        );
    }

    #[test]
    fn user_id_must_be_present_printable_and_short() {
        for bad in ["", "a\nb", &"x".repeat(MAX_USER_ID + 1)] {
            assert!(checked_user_id(bad.into()).is_err(), "{bad:?}");
        }
        assert!(checked_user_id("Zoë 🦀".into()).is_ok());
    }
}
