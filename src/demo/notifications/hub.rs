//! The state of the service: users, their inboxes and the channels to their sockets. Knows nothing of HTTP.

use axum::extract::ws::Utf8Bytes;
use serde::Serialize;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{broadcast, watch};

/// Maximum number of notifications per user; the oldest one makes room.
const MAX_INBOX_NOTIFICATIONS: usize = 100;
/// Maximum number of users; the least recently active one without an open socket makes room.
const MAX_USERS: usize = 1_000;
/// Maximum number of pushes that wait for a slow socket before it misses some.
const MAX_WAITING_PUSHES: usize = 64;

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Notification {
    pub(super) id: String,
    pub(super) user_id: String,
    pub(super) title: String,
    pub(super) body: String,
    pub(super) created_at: String,
    pub(super) read: bool,
}

/// The response to a poll.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Inbox {
    pub(super) user_id: String,
    pub(super) unread: usize,
    /// Newest first.
    pub(super) notifications: Vec<Notification>,
}

/// A message to a socket.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub(super) enum PushMessage<'a> {
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
    pub(super) fn text(&self) -> Utf8Bytes {
        // Strings, numbers and a bool: nothing that serde_json could refuse.
        serde_json::to_string(self).unwrap_or_default().into()
    }
}

pub(super) struct User {
    /// Newest first.
    pub(super) inbox: VecDeque<Notification>,
    /// The channel to all sockets of the user. It is bounded: a slow socket loses the oldest messages and gets `missed`,
    /// and the sender never waits.
    pub(super) pushes: broadcast::Sender<Utf8Bytes>,
    /// The hub's clock when the user was last active.
    last_used: u64,
}

/// The state of the service. It lives as long as the process.
pub(super) struct NotificationHub {
    users: Mutex<Users>,
    /// Turns true at shutdown. Each socket holds a receiver, which also counts the open sockets.
    pub(super) closing: watch::Sender<bool>,
}

#[derive(Default)]
pub(super) struct Users {
    pub(super) by_id: HashMap<String, User>,
    clock: u64,
}

impl Default for NotificationHub {
    fn default() -> Self {
        Self { users: Mutex::default(), closing: watch::Sender::new(false) }
    }
}

impl NotificationHub {
    /// Held for a few map operations, never across an await.
    pub(super) fn users(&self) -> MutexGuard<'_, Users> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Users {
    /// The user with this id, created if needed. `None` if the service is full.
    pub(super) fn entry(&mut self, id: &str) -> Option<&mut User> {
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
            pushes: broadcast::Sender::new(MAX_WAITING_PUSHES),
            last_used: 0,
        });
        user.last_used = self.clock;
        Some(user)
    }
}

impl User {
    pub(super) fn add(&mut self, notification: Notification) {
        let push = PushMessage::Notification { notification: &notification };
        // It fails only when no socket is open, and then the inbox is all there is to do.
        let _ = self.pushes.send(push.text());
        self.inbox.truncate(MAX_INBOX_NOTIFICATIONS - 1);
        self.inbox.push_front(notification);
    }
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
        for number in 0..=MAX_INBOX_NOTIFICATIONS {
            user.add(notification(&number.to_string()));
        }
        assert_eq!(user.inbox.len(), MAX_INBOX_NOTIFICATIONS);
        assert_eq!(user.inbox[0].title, MAX_INBOX_NOTIFICATIONS.to_string());
        assert_eq!(user.inbox[MAX_INBOX_NOTIFICATIONS - 1].title, "1");
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
        for number in 0..MAX_WAITING_PUSHES + 5 {
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
}
