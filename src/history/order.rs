use tokio::sync::oneshot;

/// What somebody wants to be in force. Who asked is told what has changed, or why nothing has.
pub enum Order {
    /// What the files say, changed or not.
    Reload(oneshot::Sender<Result<String, String>>),
    /// The version of this number, or the one before the one in force.
    Rollback(Option<u64>, oneshot::Sender<Result<String, String>>),
}
