//! An open WebSocket of a user: pushes go out, pings are answered. Knows nothing of inboxes.

use super::MAX_MESSAGE_BYTES;
use super::hub::{NotificationHub, PushMessage};
use super::problem::Problem;
use super::requests::{UserQuery, user_from_query};
use axum::{
    extract::{
        Query, State,
        rejection::QueryRejection,
        ws::{
            CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code,
            rejection::WebSocketUpgradeRejection,
        },
    },
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{
        broadcast::{self, error::RecvError},
        watch,
    },
    time,
};

/// The subprotocol of this service, for clients that offer any.
const SUBPROTOCOL: &str = "notifications.v1";
/// Maximum number of open sockets of all users.
const MAX_SOCKETS: usize = 10_000;
/// Maximum time of a write to a socket, so that a client that does not read cannot keep a task.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to answer a close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) async fn open_socket(
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
    // A browser that offers subprotocols fails the connection if none is selected.
    Ok(upgrade
        .protocols([SUBPROTOCOL])
        .max_message_size(MAX_MESSAGE_BYTES)
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
