//! The error of a request that a filter ends while Pingora proxies it. Knows nothing of answers.

use pingora::{Error, ErrorType};

/// The error for a request that a filter fails on, or answers, while Pingora proxies it.
pub(super) const FILTER: ErrorType = ErrorType::Custom("Filter");

/// Ends a request because of a filter, with this reason for the log.
pub(super) fn filter_error(reason: String) -> Box<Error> {
    Error::explain(FILTER, reason).into_in()
}
