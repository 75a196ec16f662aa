//! The dashboard: a static page, its style and its script. The page gets its data from the admin endpoint and from no
//! other server; this file knows none of the data.

use super::paths;
use super::response;
use http::{HeaderValue, Response, StatusCode, header};

/// The dashboard's files: path, media type, content.
const ASSETS: [(&str, &str, &str); 3] = [
    (paths::ROOT, "text/html; charset=utf-8", include_str!("dashboard/index.html")),
    (paths::DASHBOARD_CSS, "text/css; charset=utf-8", include_str!("dashboard/style.css")),
    (paths::DASHBOARD_JS, "text/javascript; charset=utf-8", include_str!("dashboard/dashboard.js")),
];

/// Loads nothing from other origins and forbids frames.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The part of the page at this path.
pub(super) fn asset(path: &str) -> Option<Response<Vec<u8>>> {
    let (_, media_type, text) = ASSETS.iter().find(|(known, ..)| *known == path)?;
    let mut response = response(StatusCode::OK, media_type, (*text).into());
    let headers = response.headers_mut();
    headers
        .insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Some(response)
}
