//! Reports the state of the gateway to systemd, or to whatever program set `NOTIFY_SOCKET` (sd_notify(3)). Knows
//! nothing of why the state changes.

use sd_notify::NotifyState;

/// Reports that the gateway serves.
pub(super) fn ready(status: &str) {
    send_state(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Reports that the gateway reloads; [`ready`] follows.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send_state(&[NotifyState::Reloading, now]),
        Err(_) => send_state(&[NotifyState::Reloading]),
    }
}

/// Reports that the gateway stops.
pub(super) fn stopping(status: &str) {
    send_state(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// Reports a status text without a change of state.
pub(super) fn status(status: &str) {
    send_state(&[NotifyState::Status(status)]);
}

/// Reports that another process is the main process of the service now.
pub(super) fn successor(process: u32, status: &str) {
    send_state(&[NotifyState::MainPid(process), NotifyState::Status(status)]);
}

fn send_state(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        log::debug!("cannot notify systemd: {error}");
    }
}
