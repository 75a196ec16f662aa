//! The tasks of connections, so that each can be ended: idle ones at a stop, those of an evicted client, or all. Knows
//! nothing of what a task does.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::AbortHandle;

/// The tasks of all connections, so that the remaining ones can be ended when the gateway stops.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    /// By number.
    connections: Mutex<HashMap<u64, TaskEntry>>,
    numbers: AtomicU64,
    /// Whether connections that are idle must end.
    ends_idle: AtomicBool,
}

#[derive(Debug)]
struct TaskEntry {
    idle_state: Arc<IdleState>,
    /// `None` until it has begun.
    task: Option<ConnectionTask>,
}

/// Whether a connection is idle: it waits for its next request and has received no byte of it.
#[derive(Debug, Default)]
struct IdleState(AtomicU8);

const BUSY: u8 = 0;
const IDLE: u8 = 1;
const ENDED: u8 = 2;

impl IdleState {
    /// Changes it from one to the other; false if it is neither.
    fn transition(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

/// The task of a connection.
#[derive(Debug)]
struct ConnectionTask {
    abort: AbortHandle,
    /// The client among whose connections it is counted.
    client: Option<IpAddr>,
}

/// Keeps a connection's task in the list; dropping it removes the task.
#[derive(Debug)]
pub(super) struct TaskGuard {
    tasks: Arc<Tasks>,
    number: u64,
    idleness: Arc<IdleState>,
}

impl Tasks {
    /// For a connection that will be served.
    pub(super) fn reserve(self: &Arc<Self>) -> TaskGuard {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let idleness = Arc::<IdleState>::default();
        self.lock_connections()
            .insert(number, TaskEntry { idle_state: Arc::clone(&idleness), task: None });
        TaskGuard { tasks: Arc::clone(self), number, idleness }
    }

    /// Serves a connection in a task of its own, which holds its guard.
    pub(super) fn spawn(
        self: &Arc<Self>,
        number: u64,
        client: Option<IpAddr>,
        serving: impl Future<Output = ()> + Send + 'static,
    ) {
        let abort = tokio::spawn(serving).abort_handle();
        // Not if it has ended already.
        if let Some(connections) = self.lock_connections().get_mut(&number) {
            connections.task = Some(ConnectionTask { abort, client });
        }
    }

    /// Ends them all as they stand.
    pub(super) fn abort_all(&self) {
        self.abort(|_| true);
    }

    /// Ends the connections that wait for their next request, now and from now on.
    pub(super) fn end_idle(&self) {
        self.ends_idle.store(true, Ordering::SeqCst);
        let taken: Vec<_> = {
            let connections = self.lock_connections();
            let idle =
                connections.values().filter(|entry| entry.idle_state.transition(IDLE, ENDED));
            idle.filter_map(|entry| Some(entry.task.as_ref()?.abort.clone())).collect()
        };
        taken.iter().for_each(AbortHandle::abort);
    }

    /// Ends those of a client as they stand.
    pub(super) fn abort_client(&self, client: IpAddr) {
        self.abort(|task| task.client == Some(client));
    }

    fn abort(&self, takes: impl Fn(&ConnectionTask) -> bool) {
        let taken: Vec<_> = {
            let connections = self.lock_connections();
            let taken = connections
                .values()
                .filter_map(|entry| entry.task.as_ref())
                .filter(|task| takes(task));
            taken.map(|task| task.abort.clone()).collect()
        };
        // A task that is dropped leaves the map, for which it takes the lock.
        taken.iter().for_each(AbortHandle::abort);
    }

    /// What it protects is whole between any two statements.
    fn lock_connections(&self) -> MutexGuard<'_, HashMap<u64, TaskEntry>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TaskGuard {
    /// Notes that the connection is idle; false if it must end instead.
    pub(super) fn begin_idle(&self) -> bool {
        self.idleness.transition(BUSY, IDLE) && !self.tasks.ends_idle.load(Ordering::SeqCst)
    }

    /// Notes that the connection may be idle no more; false if it has been ended.
    pub(super) fn end_idle(&self) -> bool {
        self.idleness.transition(IDLE, BUSY)
    }

    /// Where its task belongs.
    pub(super) fn key(&self) -> (Arc<Tasks>, u64) {
        (Arc::clone(&self.tasks), self.number)
    }
}

impl Drop for TaskGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The lines before it in this log are the panic's own.
            log::error!(
                "the task of a client connection panicked, and the connection is closed; please \
                 report this bug"
            );
        }
        self.tasks.lock_connections().remove(&self.number);
    }
}
