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
    connections: Mutex<ConnectionTable>,
    numbers: AtomicU64,
    /// Whether connections that are idle must end.
    ends_idle: AtomicBool,
}

#[derive(Debug, Default)]
struct ConnectionTable {
    /// By number.
    entries: HashMap<u64, TaskEntry>,
    /// Whether all tasks have been ended, so that none may begin.
    is_closed: bool,
}

#[derive(Debug)]
struct TaskEntry {
    idle_state: Arc<IdleState>,
    /// How many tasks have begun for the connection: each hands it to the next, and only the last one counts.
    begun: u32,
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
    /// For a connection that will be served; `None` if all connections have been ended.
    pub(super) fn reserve(self: &Arc<Self>) -> Option<TaskGuard> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let idleness = Arc::<IdleState>::default();
        let entry = TaskEntry { idle_state: Arc::clone(&idleness), begun: 0, task: None };
        let mut connections = self.lock_connections();
        if connections.is_closed {
            return None;
        }
        connections.entries.insert(number, entry);
        Some(TaskGuard { tasks: Arc::clone(self), number, idleness })
    }

    /// Serves a connection in a task of its own, which holds its guard; drops it if all connections have been ended.
    pub(super) fn spawn(
        self: &Arc<Self>,
        number: u64,
        client: Option<IpAddr>,
        serving: impl Future<Output = ()> + Send + 'static,
    ) {
        let Some(begun) = self.begin(number) else { return };
        // Not with the lock: a runtime that shuts down drops the task here, which takes it.
        let abort = tokio::spawn(serving).abort_handle();
        let mut connections = self.lock_connections();
        if connections.is_closed {
            drop(connections);
            abort.abort();
            return;
        }
        // Not if it has ended already, or has handed the connection to another task.
        if let Some(entry) = connections.entries.get_mut(&number).filter(|it| it.begun == begun) {
            entry.task = Some(ConnectionTask { abort, client });
        }
    }

    /// Counts a task of a connection that is about to begin; `None` if it may not.
    fn begin(&self, number: u64) -> Option<u32> {
        let mut connections = self.lock_connections();
        if connections.is_closed {
            return None;
        }
        let entry = connections.entries.get_mut(&number)?;
        entry.begun += 1;
        Some(entry.begun)
    }

    /// Ends them all as they are, and lets none begin from now on.
    pub(super) fn abort_all(&self) {
        self.lock_connections().is_closed = true;
        self.abort(|_| true);
    }

    /// Ends the connections that wait for their next request, now and from now on.
    pub(super) fn abort_idle(&self) {
        self.ends_idle.store(true, Ordering::SeqCst);
        let taken: Vec<_> = {
            let connections = self.lock_connections();
            let idle = connections
                .entries
                .values()
                .filter(|entry| entry.idle_state.transition(IDLE, ENDED));
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
            let tasks = connections.entries.values().filter_map(|entry| entry.task.as_ref());
            let taken = tasks.filter(|task| takes(task));
            taken.map(|task| task.abort.clone()).collect()
        };
        // A task that is dropped leaves the map, for which it takes the lock.
        taken.iter().for_each(AbortHandle::abort);
    }

    /// What it protects is whole between any two statements.
    fn lock_connections(&self) -> MutexGuard<'_, ConnectionTable> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TaskGuard {
    /// Notes that the connection is idle; false if it must end instead.
    pub(super) fn try_enter_idle(&self) -> bool {
        self.idleness.transition(BUSY, IDLE) && !self.tasks.ends_idle.load(Ordering::SeqCst)
    }

    /// Notes that the connection may be idle no more; false if it has been ended.
    pub(super) fn try_leave_idle(&self) -> bool {
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
        self.tasks.lock_connections().entries.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::sync::oneshot;

    /// Waits until the task that holds the guard has ended.
    async fn end(ended: oneshot::Receiver<()>) {
        assert!(ended.await.is_err(), "it sends nothing");
    }

    #[tokio::test]
    async fn no_task_begins_after_all_have_been_ended() {
        let tasks = Arc::new(Tasks::default());
        let (waits, begins) = (tasks.reserve().expect("open"), tasks.reserve().expect("open"));
        let (held, ended) = oneshot::channel::<()>();
        tasks.spawn(waits.number, None, async move {
            let _held = (waits, held);
            pending::<()>().await;
        });
        tasks.abort_all();
        end(ended).await;
        let (held, ended) = oneshot::channel::<()>();
        tasks.spawn(begins.number, None, async move {
            let _held = (begins, held);
            panic!("it must not begin");
        });
        end(ended).await;
        assert!(tasks.reserve().is_none());
        assert!(tasks.lock_connections().entries.is_empty());
    }

    #[tokio::test]
    async fn connection_that_is_handed_to_another_task_is_ended_with_that_one() {
        let tasks = Arc::new(Tasks::default());
        let guard = tasks.reserve().expect("open");
        let client = IpAddr::from([203, 0, 113, 7]);
        let (held, ended) = oneshot::channel::<()>();
        let (done, handed) = oneshot::channel();
        let all = Arc::clone(&tasks);
        tasks.spawn(guard.number, None, async move {
            let number = guard.number;
            all.spawn(number, Some(client), async move {
                let _held = (guard, held);
                pending::<()>().await;
            });
            let _ = done.send(());
        });
        handed.await.expect("the first task ends");
        tasks.abort_client(client);
        end(ended).await;
        assert!(tasks.lock_connections().entries.is_empty());
    }

    #[tokio::test]
    async fn earlier_task_does_not_replace_the_one_that_it_handed_the_connection_to() {
        let tasks = Arc::new(Tasks::default());
        let guard = tasks.reserve().expect("open");
        let number = guard.number;
        let first = tasks.begin(number).expect("open");
        let second = tasks.begin(number).expect("open");
        assert!(first < second);
        drop(guard);
        assert_eq!(tasks.begin(number), None, "the connection has ended");
    }
}
