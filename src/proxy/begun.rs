//! How many requests of a connection have begun: their heads are whole.

use std::cell::Cell;

/// Of one connection, each modulo 2^32.
#[derive(Debug, Default)]
struct Requests {
    awaited: Cell<u32>,
    begun: Cell<u32>,
}

tokio::task_local! {
    static REQUESTS: Requests;
}

/// Counts them in the task of a connection.
pub async fn count<T>(connection: impl Future<Output = T>) -> T {
    REQUESTS.scope(Requests::default(), connection).await
}

/// From now on one more is awaited on this task's connection.
pub fn await_one() {
    let _ = REQUESTS.try_with(|it| it.awaited.set(it.awaited.get().wrapping_add(1)));
}

/// The number of the request that is awaited, if its head is not whole yet.
pub fn awaited() -> Option<u32> {
    let number = |it: &Requests| (it.awaited.get() != it.begun.get()).then(|| it.awaited.get());
    REQUESTS.try_with(number).unwrap_or_default()
}

/// One more has begun.
pub(super) fn one() {
    // HTTP/2 has many at a time, and no use for this.
    let _ = REQUESTS.try_with(|it| it.begun.set(it.begun.get().wrapping_add(1)));
}
