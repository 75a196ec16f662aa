//! Errors of the service as its clients get them. Knows nothing of notifications.

use axum::{
    Json,
    extract::rejection::JsonRejection,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

/// An error as the gateway writes its own: a word for programs, a sentence for people.
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) error: &'static str,
    pub(super) message: String,
}

impl Problem {
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error: "bad_request", message: message.into() }
    }

    /// The problem for a request that axum rejected.
    pub(super) fn refused(status: StatusCode, message: String) -> Self {
        let (status, error) = match status {
            StatusCode::METHOD_NOT_ALLOWED => (status, "method_not_allowed"),
            StatusCode::PAYLOAD_TOO_LARGE => (status, "payload_too_large"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => (status, "unsupported_media_type"),
            // "Unprocessable" is only ever a wrong field here.
            _ => (StatusCode::BAD_REQUEST, "bad_request"),
        };
        Self { status, error, message }
    }

    pub(super) fn not_found() -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            error: "not_found",
            message: "the notification service has nothing at this path".into(),
        }
    }

    pub(super) fn method_not_allowed() -> Self {
        Self {
            status: StatusCode::METHOD_NOT_ALLOWED,
            error: "method_not_allowed",
            message: "this path does not take this method".into(),
        }
    }

    pub(super) fn too_many(what: &str) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            error: "full",
            message: format!("too many {what}; try again later"),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.error, "message": self.message });
        (self.status, Json(body)).into_response()
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self::refused(rejection.status(), rejection.body_text())
    }
}
