//! A handle on a running gateway, for the program around it: what signals request of a program of the gateway's own.
//! Knows nothing of how requests are carried out.

use super::signals::{RequestedSignals, Signal};
use std::error::Error;
use std::fmt;
use tokio::sync::{mpsc, oneshot};

/// Reopens the access log of a gateway, or reloads its configuration, as SIGUSR1 and SIGHUP do; for a program that keeps
/// signals to itself. [`Gateway::handle`](crate::Gateway::handle) makes one; clones are handles on the same gateway.
#[derive(Clone)]
pub struct Handle(mpsc::Sender<Signal>);

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl Handle {
    /// A handle, and where the gateway receives what is requested with it.
    pub(crate) fn new() -> (Self, RequestedSignals) {
        let (sender, requests) = mpsc::channel(1);
        (Self(sender), requests)
    }

    /// Reopens the file of the access log under its name, after it was rotated. Requests that end later are logged there;
    /// earlier lines are still written to the old file. An access log without a file stays as it is.
    ///
    /// Before the gateway serves, this waits.
    ///
    /// # Errors
    /// When the gateway stops, or has stopped.
    pub async fn reopen_access_log(&self) -> Result<(), HandleError> {
        self.request(Signal::Reopen).await
    }

    /// Reads the configuration again, applies it, and reopens the access log. Returns a line that says which version is
    /// in force, and what has changed.
    ///
    /// An edit of the file takes effect without this, within a second; but here its result is known.
    ///
    /// Before the gateway serves, this waits.
    ///
    /// # Errors
    /// When the configuration is refused, and the running version stays in force; when the gateway stops, or has stopped.
    pub async fn reload(&self) -> Result<String, HandleError> {
        self.request(Signal::Reload).await?.map_err(HandleError::Refused)
    }

    /// Requests something and waits for its result.
    async fn request<T>(
        &self,
        signal: impl FnOnce(Option<oneshot::Sender<T>>) -> Signal,
    ) -> Result<T, HandleError> {
        let (reply, replied) = oneshot::channel();
        self.0.send(signal(Some(reply))).await.map_err(|_| HandleError::Stopped)?;
        replied.await.map_err(|_| HandleError::Stopped)
    }
}

/// Why a gateway did not do what a [`Handle`] requested.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandleError {
    /// The gateway stops, or has stopped.
    Stopped,
    /// The configuration was refused, with all that is wrong.
    Refused(String),
}

impl fmt::Display for HandleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("the gateway has stopped"),
            Self::Refused(problems) => {
                write!(
                    f,
                    "configuration not reloaded; the running version stays in force: {problems}"
                )
            }
        }
    }
}

impl Error for HandleError {}
