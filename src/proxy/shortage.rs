//! The responses to requests that the gateway has no room for. Knows neither what is short nor who measured it.

use crate::filter::{RETRY_SOON, Reply};
use crate::load::CollectedLimit;
use http::header::{self, HeaderValue};
use tidegate_http::error_code::ErrorCode;

/// The response when the gateway lacks memory or descriptors.
pub(super) fn overloaded_reply() -> Reply {
    Reply::gateway_error(ErrorCode::Overloaded, "the gateway is overloaded; try again later")
        .header(header::RETRY_AFTER, HeaderValue::from_static(RETRY_SOON))
}

/// The response to a client that has too many requests in flight.
pub(super) fn too_many_requests() -> Reply {
    Reply::gateway_error(
        ErrorCode::TooManyRequests,
        "too many concurrent requests from this address",
    )
    .header(header::RETRY_AFTER, HeaderValue::from_static(RETRY_SOON))
}

/// The response to a body that there is no room for.
pub(super) fn no_room_for_body(limit: CollectedLimit) -> Reply {
    match limit {
        CollectedLimit::Total => overloaded_reply(),
        CollectedLimit::PerClient => Reply::gateway_error(
            ErrorCode::TooManyRequests,
            "too many bytes of concurrent bodies from this address",
        )
        .header(header::RETRY_AFTER, HeaderValue::from_static(RETRY_SOON)),
    }
}
