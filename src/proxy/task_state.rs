//! The state that the task of a connection, or of an HTTP/2 stream, shares with the hooks of its requests. Knows
//! nothing of routes and answers.

use crate::load::{ClientLoad, SharedRequest};
use crate::websocket::Session;
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::Sleep;

#[derive(Debug, Default)]
struct RequestTaskState {
    /// Number of requests that its connection has waited for, modulo 2^32.
    awaited_requests: Cell<u32>,
    /// Number of requests whose heads are complete, modulo 2^32.
    started_requests: Cell<u32>,
    /// The WebSocket session, from its handshake on.
    session: RefCell<Option<Arc<Session>>>,
    /// Whether it is dropped because its client has reset the stream.
    is_reset: Cell<bool>,
    /// What is left of a response's body when its trailers come.
    last_part: RefCell<Option<Bytes>>,
    /// The request in it, if the connection is shared by clients.
    shared: RefCell<Option<Arc<SharedRequest>>>,
}

tokio::task_local! {
    static TASK: RequestTaskState;
    static CLIENT: Option<Arc<ClientLoad>>;
}

/// Gives the task of a connection, or of a stream, its state. No `async fn`: that would reserve memory for
/// the future twice.
pub(crate) fn with_state<T>(requests: impl Future<Output = T>) -> impl Future<Output = T> {
    TASK.scope(RequestTaskState::default(), requests)
}

/// Lets the hooks know the client of a connection, or of an HTTP/2 stream.
pub(crate) fn with_client<T>(
    client: Option<Arc<ClientLoad>>,
    task: impl Future<Output = T>,
) -> impl Future<Output = T> {
    CLIENT.scope(client, task)
}

/// The client among whose connections this task's is counted.
pub(super) fn client() -> Option<Arc<ClientLoad>> {
    CLIENT.try_with(Clone::clone).ok().flatten()
}

/// Records that this task's connection waits for a request.
pub(crate) fn record_wait() {
    let _ = TASK
        .try_with(|task| task.awaited_requests.set(task.awaited_requests.get().wrapping_add(1)));
}

/// The number of the request that the connection waits for, until its head is complete.
pub(crate) fn awaited_request() -> Option<u32> {
    let number = |task: &RequestTaskState| {
        (task.awaited_requests.get() != task.started_requests.get())
            .then(|| task.awaited_requests.get())
    };
    TASK.try_with(number).unwrap_or_default()
}

/// Records that the head of a request is complete.
pub(super) fn record_request_start() {
    let _ = TASK
        .try_with(|task| task.started_requests.set(task.started_requests.get().wrapping_add(1)));
}

/// Records that this task is dropped because its client has reset the stream.
pub(crate) fn record_reset() {
    let _ = TASK.try_with(|task| task.is_reset.set(true));
}

/// Whether the task is dropped because its client has reset the stream.
pub(super) fn is_reset() -> bool {
    TASK.try_with(|task| task.is_reset.get()).unwrap_or_default()
}

/// Leaves what is left of a response's body for whoever writes its trailers.
pub(super) fn set_last_part(part: Option<Bytes>) {
    let _ = TASK.try_with(|task| task.last_part.replace(part));
}

/// What is left of the response's body, to be written before its trailers.
pub(crate) fn take_last_part() -> Option<Bytes> {
    TASK.try_with(|task| task.last_part.take()).ok().flatten()
}

/// Records that this task's request is on a connection which clients share, or has ended.
pub(crate) fn set_shared(request: Option<Arc<SharedRequest>>) {
    let _ = TASK.try_with(|task| task.shared.replace(request));
}

/// Ready when this task's request has to end, because its client is evicted and the connection is not the
/// client's alone. A WebSocket session ends by itself, with a close frame.
pub(crate) fn poll_eviction(cx: &mut Context<'_>) -> Poll<()> {
    let poll = |task: &RequestTaskState| match &*task.shared.borrow() {
        Some(request) if task.session.borrow().is_none() => request.poll_eviction(cx),
        _ => Poll::Pending,
    };
    TASK.try_with(poll).unwrap_or(Poll::Pending)
}

/// Records the session of this task, or that it has none.
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
    let poll =
        |task: &RequestTaskState| Some(task.session.borrow().as_ref()?.poll_overdue(cx, alarm));
    TASK.try_with(poll).ok().flatten()
}
