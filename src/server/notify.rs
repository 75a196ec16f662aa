//! Tells systemd, or whoever set `NOTIFY_SOCKET`, how it stands (sd_notify(3)).

use sd_notify::NotifyState;

/// It serves.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// It reads its configuration again; `ready` follows.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// It ends.
pub(super) fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// Nothing new, in words.
pub(super) fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// Another process is the service from now on.
pub(super) fn successor(process: u32, status: &str) {
    tell(&[NotifyState::MainPid(process), NotifyState::Status(status)]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        log::debug!("cannot notify systemd: {error}");
    }
}
