//! Waits while the gateway serves, and does what signals request. Knows nothing of how the gateway starts and stops.

use super::signals::{Signal, Signals, StopMode};
use super::start::Announcement;
use super::{notify, start_successor};
use crate::history::Order;
use crate::snapshot::CurrentSnapshot;
use crate::state::State;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Returns once the gateway is to stop, and how. No handover is in progress then.
pub(super) async fn supervise(
    signals: &mut Signals,
    state: &State,
    announced: &Announcement,
    orders: &mpsc::Sender<Order>,
    upgrades_on_signal: bool,
) -> StopMode {
    let Announcement { serving, donor, notifies } = announced;
    let mut handing: Option<JoinHandle<Result<u32, String>>> = None;
    let stop = loop {
        let signal = tokio::select! {
            signal = signals.next() => signal,
            given = handover_result(&mut handing) => {
                handing = None;
                match given {
                    Ok(process) => break StopMode::Replaced(process),
                    Err(reason) => {
                        log::error!("upgrade failed: {reason}; this process keeps serving");
                        if *notifies {
                        notify::status(&format!("{serving}; the last upgrade failed: {reason}"));
                        }
                    }
                }
                continue;
            }
        };
        match signal {
            Signal::Reopen(reply) => {
                reopen_logs(&state.current);
                if let Some(reply) = reply {
                    let _ = reply.send(());
                }
            }
            Signal::Reload(Some(reply)) => {
                reopen_logs(&state.current);
                let orders = orders.clone();
                // The queue may be full, and signals must not wait for that.
                tokio::spawn(async move { orders.send(Order::Reload(reply)).await });
            }
            Signal::Reload(None) => {
                reopen_logs(&state.current);
                if *notifies {
                    notify::reloading();
                }
                let (done, reloaded) = oneshot::channel();
                // One that waits already will read the newest file as well.
                let _ = orders.try_send(Order::Reload(done));
                if *notifies {
                    let serving = serving.clone();
                    tokio::spawn(async move {
                        let _ = reloaded.await;
                        notify::ready(&serving);
                    });
                }
            }
            Signal::Upgrade => match &donor {
                Some(donor) if handing.is_none() => {
                    log::info!("upgrade: handing the listening sockets over to the new process");
                    let donor = Arc::clone(donor);
                    handing = Some(tokio::spawn(async move { donor.donate().await }));
                }
                Some(_) => log::warn!("upgrade signal ignored: another upgrade is in progress"),
                None => log::error!(
                    "upgrade failed: this process cannot hand its listening sockets over: \
                     `upgrade_socket` is not set or could not be opened, or this is process 1"
                ),
            },
            Signal::StartSuccessor if upgrades_on_signal && donor.is_some() => {
                start_successor::start()
            }
            Signal::StartSuccessor => {
                log::error!(
                    "upgrade failed: this process cannot start its successor: it was not started \
                     by `tidegate run`, or `upgrade_socket` is not usable"
                )
            }
            Signal::Stop(stop) => break stop,
        }
    };
    signals.refuse_requests();
    if let Some(handing) = handing {
        handing.abort();
    }
    stop
}

/// Opens the access log's file again, for it may have been rotated.
fn reopen_logs(current: &CurrentSnapshot) {
    if let Some(log) = &current.load().global.access_log {
        log.sink().reopen();
    }
}

/// How a handover ended; never, when there is none.
async fn handover_result(
    handing: &mut Option<JoinHandle<Result<u32, String>>>,
) -> Result<u32, String> {
    match handing {
        Some(handing) => handing.await.map_err(|error| error.to_string()).flatten(),
        None => std::future::pending().await,
    }
}
