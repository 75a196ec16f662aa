//! Asks a running gateway for its addresses when the configuration file cannot give them. Changes nothing in it.

use super::ASK_ADMIN;
use crate::snapshot::CurrentSnapshot;
use crate::websocket::SessionRegistry;
use rustix::net::sockopt::socket_peercred;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tidegate_disk::is_trusted;
use tidegate_http::address::Address;

/// How long the gateway may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum size of a response of the running gateway, in bytes.
const MAX_RESPONSE_BYTES: u64 = 64 * 1024;

/// The admin endpoint of the gateway that runs.
#[derive(Clone)]
pub(crate) struct RunningAdmin {
    /// Where it is, if there is one.
    pub address: Option<Address>,
    /// What knows its token.
    pub current: Arc<CurrentSnapshot>,
    /// What has the logins that were revoked.
    pub sessions: Arc<SessionRegistry>,
}

#[derive(Serialize, Deserialize)]
struct RunningAnswer {
    address: Option<String>,
    token: Option<String>,
    listener: Option<String>,
}

/// What a gateway that runs says of itself.
#[derive(Debug, Default)]
pub(crate) struct RunningGateway {
    /// Its admin endpoint, if it has one, and the token.
    pub admin: Option<(Address, Option<String>)>,
    /// Its first listener.
    pub listener: Option<Address>,
}

impl RunningAdmin {
    /// What is said to a process of the same user.
    pub(super) fn answer(&self) -> Vec<u8> {
        let address = self.address.as_ref().map(ToString::to_string);
        let token = self.current.load().admin_token.as_ref().map(|token| token.to_string());
        let listener = self.current.bound_addresses().first().map(ToString::to_string);
        serde_json::to_vec(&RunningAnswer { address, token, listener }).unwrap_or_default()
    }

    /// The logins that were revoked, one a line, for the gateway that comes next.
    pub(super) fn revocations(&self) -> Vec<u8> {
        let all = self.sessions.revocations().all();
        all.into_iter().flat_map(|it| (it.to_text() + "\n").into_bytes()).collect()
    }
}

/// The addresses of the gateway at this control socket; none when it is too old to tell.
///
/// # Errors
/// When no gateway of this user answers there.
pub(crate) fn query_running(control: &Path) -> io::Result<RunningGateway> {
    let mut stream = UnixStream::connect(control)?;
    if !is_trusted(socket_peercred(&stream)?.uid.as_raw()) {
        let reason = format!(
            "the gateway at the upgrade socket {} belongs to another user",
            control.display()
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(&[ASK_ADMIN])?;
    let mut answer = Vec::new();
    stream.take(MAX_RESPONSE_BYTES).read_to_end(&mut answer)?;
    let Ok(RunningAnswer { address, token, listener }) = serde_json::from_slice(&answer) else {
        return Ok(RunningGateway::default());
    };
    let admin = address.and_then(|address| Some((address.parse().ok()?, token)));
    Ok(RunningGateway { admin, listener: listener.and_then(|listener| listener.parse().ok()) })
}
