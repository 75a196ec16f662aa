//! The tasks of connections, so that each can be ended.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::AbortHandle;

/// The tasks of all connections, so that those that are left can be ended when the gateway stops.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    /// By number; none until the task has begun.
    running: Mutex<HashMap<u64, Option<Task>>>,
    numbers: AtomicU64,
}

/// The task of a connection.
#[derive(Debug)]
struct Task {
    abort: AbortHandle,
    /// The client among whose connections it is counted.
    client: Option<IpAddr>,
}

/// Keeps a connection's task among them.
#[derive(Debug)]
pub(super) struct TaskGuard {
    tasks: Arc<Tasks>,
    number: u64,
}

impl Tasks {
    /// For a connection that will be served.
    pub(super) fn reserve(self: &Arc<Self>) -> TaskGuard {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        self.running().insert(number, None);
        TaskGuard { tasks: Arc::clone(self), number }
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
        if let Some(running) = self.running().get_mut(&number) {
            *running = Some(Task { abort, client });
        }
    }

    /// Ends them all as they stand.
    pub(super) fn abort_all(&self) {
        self.abort(|_| true);
    }

    /// Ends those of a client as they stand.
    pub(super) fn abort_of(&self, client: IpAddr) {
        self.abort(|task| task.client == Some(client));
    }

    fn abort(&self, takes: impl Fn(&Task) -> bool) {
        let taken: Vec<_> = {
            let running = self.running();
            let taken = running.values().flatten().filter(|task| takes(task));
            taken.map(|task| task.abort.clone()).collect()
        };
        // A task that is dropped leaves the map, for which it takes the lock.
        taken.iter().for_each(AbortHandle::abort);
    }

    /// What it protects is whole between any two statements.
    fn running(&self) -> MutexGuard<'_, HashMap<u64, Option<Task>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TaskGuard {
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
                "a connection's task panicked, and its connection is closed; please report this fault"
            );
        }
        self.tasks.running().remove(&self.number);
    }
}
