//! What would become of a request.

use super::sessions::affected;
use super::{AdminResult, refuse};
use crate::explain::{Difference, Outline, RequestToExplain, explain};
use crate::snapshot::CurrentSnapshot;
use crate::websocket::Registry;
use http::StatusCode;
use serde_json::json;

/// Of `url`, `method` (GET unless given), any number of `header`, and `client`, who connects.
pub(super) async fn answer(current: &CurrentSnapshot, query: &str) -> AdminResult {
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
        return refuse(StatusCode::BAD_REQUEST, "the parameter `url` is missing: `url=…`");
    };
    let asked = RequestToExplain::new(&url, &method, &headers);
    let mut asked = asked.or_else(|reason| refuse(StatusCode::BAD_REQUEST, reason))?;
    if let Some(client) = client {
        let Ok(client) = client.parse() else {
            return refuse(StatusCode::BAD_REQUEST, format!("`{client}` is not an IP address"));
        };
        asked = asked.from_client(client);
    }
    let snapshot = current.full();
    let explanation = explain(&snapshot, &asked).await;
    let text = explanation.to_string();
    Ok(json!({"version": snapshot.number, "explanation": explanation, "text": text}))
}

/// What another configuration would do otherwise, and to how many of the live sessions.
pub(super) async fn difference(
    current: &CurrentSnapshot,
    sessions: &Registry,
    body: &[u8],
) -> AdminResult {
    let Ok(outline) = serde_json::from_slice::<Outline>(body) else {
        return refuse(
            StatusCode::BAD_REQUEST,
            "the body is malformed; send it with `tidegate diff` of the gateway's version",
        );
    };
    let touched = affected(sessions, outline.plan());
    let snapshot = current.full();
    let version = snapshot.number;
    // It takes a while where there are many routes, and requests are not to wait.
    let comparing = tokio::task::spawn_blocking(move || {
        Difference::between_outlines(&Outline::from_snapshot(&snapshot), &outline)
    });
    let Ok(difference) = comparing.await else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "the gateway is stopping");
    };
    let text = difference.to_string();
    Ok(json!({"version": version, "difference": difference, "text": text, "live": touched}))
}
