//! Ends all tasks of a gateway that has stopped, or that nobody waits for any more. It knows nothing of a graceful end.

use super::tasks::Tasks;
use crate::upstream::Discovery;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Ends the tasks when it is dropped. The runtime may be another's, in which they would run forever.
pub(super) struct TasksGuard {
    pub(super) connections: Arc<Tasks>,
    pub(super) discovery: Arc<Discovery>,
    /// Stops the admin endpoint.
    pub(super) stop_admin: Arc<watch::Sender<bool>>,
    /// What watches the memory and follows the configuration.
    pub(super) watching: Vec<AbortHandle>,
}

impl Drop for TasksGuard {
    fn drop(&mut self) {
        self.watching.iter().for_each(AbortHandle::abort);
        let _ = self.stop_admin.send(true);
        self.discovery.set_queries(&BTreeSet::new());
        self.connections.abort_all();
    }
}
