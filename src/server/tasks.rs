use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::AbortHandle;

/// The tasks of all connections, so that those that are left can be ended when the gateway stops.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    /// By number; none until the task has begun.
    running: Mutex<HashMap<u64, Option<AbortHandle>>>,
    numbers: AtomicU64,
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
        serving: impl Future<Output = ()> + Send + 'static,
    ) {
        let task = tokio::spawn(serving).abort_handle();
        // Not if it has ended already.
        if let Some(running) = self.running().get_mut(&number) {
            *running = Some(task);
        }
    }

    /// Ends them all as they stand.
    pub(super) fn abort_all(&self) {
        let running: Vec<_> = self.running().values().flatten().cloned().collect();
        running.iter().for_each(AbortHandle::abort);
    }

    /// What it protects is whole between any two statements.
    fn running(&self) -> MutexGuard<'_, HashMap<u64, Option<AbortHandle>>> {
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
        self.tasks.running().remove(&self.number);
    }
}
