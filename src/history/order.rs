//! The requests of an operator to change the version: a reload or a rollback. Knows nothing of how a version is
//! applied.

use tokio::sync::oneshot;

/// A version that an operator requests. The operator gets the changes, or the reason why nothing changed.
pub(crate) enum Order {
    /// What the files say, changed or not.
    Reload(oneshot::Sender<Result<String, String>>),
    /// The version of this number, or the newest before the one in force that the guard has not left.
    Rollback(Option<u64>, oneshot::Sender<Result<String, String>>),
}
