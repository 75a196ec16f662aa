//! What the task of a connection, or of a stream of HTTP/2, knows of the requests in it.

use crate::load::{Client, SharedRequest};
use crate::websocket::Session;
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::Sleep;

#[derive(Debug, Default)]
struct Task {
    /// How many requests have been awaited on its connection, modulo 2^32.
    awaited: Cell<u32>,
    /// How many have begun, modulo 2^32: their heads are whole.
    begun: Cell<u32>,
    /// The WebSocket session, from its handshake on.
    session: RefCell<Option<Arc<Session>>>,
    /// Whether it is dropped because its client has reset the stream.
    is_reset: Cell<bool>,
    /// The request in it, if the connection is shared by clients.
    shared: RefCell<Option<Arc<SharedRequest>>>,
}

tokio::task_local! {
    static TASK: Task;
    static CLIENT: Option<Arc<Client>>;
}

/// Keeps account of the requests in the task of a connection, or of a stream. No `async fn`: that would
/// have room for the future twice.
pub(crate) fn count<T>(requests: impl Future<Output = T>) -> impl Future<Output = T> {
    TASK.scope(Task::default(), requests)
}

/// Lets the hooks know whose a connection, or a stream of HTTP/2, is.
pub(crate) fn of_client<T>(
    client: Option<Arc<Client>>,
    task: impl Future<Output = T>,
) -> impl Future<Output = T> {
    CLIENT.scope(client, task)
}

/// The client among whose connections this task's is counted.
pub(super) fn client() -> Option<Arc<Client>> {
    CLIENT.try_with(Clone::clone).ok().flatten()
}

/// From now on one more is awaited on this task's connection.
pub(crate) fn await_one() {
    let _ = TASK.try_with(|task| task.awaited.set(task.awaited.get().wrapping_add(1)));
}

/// The number of the request that is awaited, if its head is not whole yet.
pub(crate) fn awaited() -> Option<u32> {
    let number = |task: &Task| (task.awaited.get() != task.begun.get()).then(|| task.awaited.get());
    TASK.try_with(number).unwrap_or_default()
}

/// One more has begun.
pub(super) fn one() {
    let _ = TASK.try_with(|task| task.begun.set(task.begun.get().wrapping_add(1)));
}

/// Notes that this task is dropped because its client has reset the stream.
pub(crate) fn note_reset() {
    let _ = TASK.try_with(|task| task.is_reset.set(true));
}

/// Whether the task is dropped because its client has reset the stream.
pub(super) fn is_reset() -> bool {
    TASK.try_with(|task| task.is_reset.get()).unwrap_or_default()
}

/// Notes that this task's request is on a connection which clients share, or is over.
pub(crate) fn set_shared(request: Option<Arc<SharedRequest>>) {
    let _ = TASK.try_with(|task| task.shared.replace(request));
}

/// Ready when this task's request has to end, because its client is evicted and the connection is not the
/// client's alone. A WebSocket session ends by itself, with a close frame.
pub(crate) fn poll_eviction(cx: &mut Context<'_>) -> Poll<()> {
    let poll = |task: &Task| match &*task.shared.borrow() {
        Some(request) if task.session.borrow().is_none() => request.poll_eviction(cx),
        _ => Poll::Pending,
    };
    TASK.try_with(poll).unwrap_or(Poll::Pending)
}

/// Notes the session that this task carries from now on, or that it carries none.
pub(super) fn set_session(session: Option<&Arc<Session>>) {
    let _ = TASK.try_with(|task| task.session.replace(session.cloned()));
}

/// Lets a close request, or a deadline, of the task's session wake it. To be called before the session's
/// tunnel is polled, so that no request is missed.
pub(crate) fn watch_session(cx: &Context<'_>) {
    let _ = TASK.try_with(|task| {
        if let Some(session) = &*task.session.borrow() {
            session.register_waker(cx.waker());
        }
    });
}

/// Whether the task carries a session.
pub(crate) fn has_session() -> bool {
    TASK.try_with(|task| task.session.borrow().is_some()).unwrap_or_default()
}

/// Ready when the task's session must be cut off; `None` when it has none.
pub(crate) fn poll_session(cx: &mut Context<'_>, alarm: &mut Pin<Box<Sleep>>) -> Option<Poll<()>> {
    let poll = |task: &Task| Some(task.session.borrow().as_ref()?.poll_overdue(cx, alarm));
    TASK.try_with(poll).ok().flatten()
}
