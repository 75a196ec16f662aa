//! `GET /explain` and `POST /diff`: what the gateway would do with a request, and what another configuration would
//! change. Both sides come from `explain/`; nothing is decided here.

use super::sessions::affected;
use super::{AdminResult, error_result};
use crate::explain::{Difference, Outline, RequestToExplain, explain};
use crate::snapshot::CurrentSnapshot;
use crate::websocket::SessionRegistry;
use http::StatusCode;
use serde_json::json;

/// Explains the request of the query: `url`, `method` (default GET), any number of `header`, and the address
/// `client`.
pub(super) async fn explain_request(current: &CurrentSnapshot, query: &str) -> AdminResult {
    let (mut url, mut method, mut headers) = (None, "GET".to_owned(), Vec::new());
    let mut client = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "url" => url = Some(value.into_owned()),
            "method" => method = value.into_owned(),
            "header" => headers.push(value.into_owned()),
            "client" => client = Some(value.into_owned()),
            _ => {}
        }
    }
    let Some(url) = url else {
        return error_result(StatusCode::BAD_REQUEST, "the parameter `url` is missing: `url=…`");
    };
    let asked = RequestToExplain::new(&url, &method, &headers);
    let mut asked =
        asked.or_else(|error| error_result(StatusCode::BAD_REQUEST, error.to_string()))?;
    if let Some(client) = client {
        let Ok(client) = client.parse() else {
            return error_result(
                StatusCode::BAD_REQUEST,
                format!("`{client}` is not an IP address"),
            );
        };
        asked = asked.from_client(client);
    }
    let snapshot = current.load_full();
    let explanation = explain(&snapshot, &asked).await;
    let text = explanation.to_string();
    Ok(json!({"version": snapshot.number, "explanation": explanation, "text": text}))
}

/// Compares the configuration in force with another one, and counts the live sessions that it would affect.
pub(super) async fn difference(
    current: &CurrentSnapshot,
    sessions: &SessionRegistry,
    body: &[u8],
) -> AdminResult {
    let Ok(outline) = serde_json::from_slice::<Outline>(body) else {
        return error_result(
            StatusCode::BAD_REQUEST,
            "the body is malformed; send it with `tidegate diff` of the gateway's version",
        );
    };
    let touched = affected(sessions, outline.plan());
    let snapshot = current.load_full();
    let version = snapshot.number;
    // It takes a while where there are many routes, and requests are not to wait.
    let comparing = tokio::task::spawn_blocking(move || {
        Difference::between_outlines(&Outline::from_snapshot(&snapshot), &outline)
    });
    let Ok(difference) = comparing.await else {
        return error_result(StatusCode::SERVICE_UNAVAILABLE, "the gateway is stopping");
    };
    let text = difference.to_string();
    Ok(json!({"version": version, "difference": difference, "text": text, "live": touched}))
}
