//! How many requests of a connection have begun: their heads are whole.

use std::cell::Cell;

tokio::task_local! {
    static BEGUN: Cell<u32>;
}

/// Counts them in the task of a connection.
pub async fn count<T>(connection: impl Future<Output = T>) -> T {
    BEGUN.scope(Cell::new(0), connection).await
}

/// As many as have begun on this task's connection, modulo 2^32.
pub fn requests() -> u32 {
    BEGUN.try_with(Cell::get).unwrap_or_default()
}

/// One more has begun.
pub(super) fn one() {
    // HTTP/2 has many at a time, and no use for this.
    let _ = BEGUN.try_with(|begun| begun.set(begun.get().wrapping_add(1)));
}
