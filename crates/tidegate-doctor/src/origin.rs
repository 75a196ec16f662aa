//! Whether a page of another origin may read the responses (Fetch standard, "HTTP-network-or-cache fetch" and "CORS
//! check"). It does not know who causes a fault.

use super::code::DiagnosisCode;
use super::fault::Fault;
use super::head::Head;
use super::naming::describe;
use super::plan::ProbePlan;
use super::probe::{self, Observations};
use super::target::printable;
use http::header;
use tidegate_http::error_code::ErrorCode;
use tidegate_http::header_name::spelled;
use tidegate_http::origin::Origin;

/// The fault in the responses to the plan's origin: to the request itself, and to a preflight.
pub(crate) async fn examine(
    plan: &ProbePlan,
    via_gateway: &Observations,
) -> Option<(DiagnosisCode, String)> {
    let origin = plan.origin.as_deref()?;
    // A page of the same origin needs no permission.
    let scheme = if plan.trust.is_some() { "https" } else { "http" };
    if Origin::parse(origin).is_some_and(|origin| origin.is_own(&plan.authority, scheme)) {
        return None;
    }
    // The preflight comes first: its refusal gives the reason.
    let names: Vec<String> =
        plan.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    let asked = [header::CONTENT_TYPE.to_string()].into_iter().chain(names).collect::<Vec<_>>();
    let request = probe::request(plan, "OPTIONS")
        .header(spelled::ACCESS_CONTROL_REQUEST_METHOD, "GET")
        .header(spelled::ACCESS_CONTROL_REQUEST_HEADERS, &asked.join(","))
        .header(spelled::CONNECTION, "close")
        .finish();
    let preflight = probe::send_request(plan, request).await;
    if let Ok(response) = &preflight
        && let Some((error, message)) = &response.gateway
    {
        let code = match ErrorCode::parse(error) {
            Some(ErrorCode::OriginNotAllowed) => DiagnosisCode::OriginRefused,
            _ => DiagnosisCode::PreflightRefused,
        };
        return Some((code, format!("the gateway answered `{error}`: {message}")));
    }
    if let Some(fault) = via_gateway.head.as_ref().and_then(|head| check_cors(head, origin)) {
        return Some(fault);
    }
    match preflight {
        Err(fault) => Some((DiagnosisCode::PreflightRefused, describe(&fault))),
        Ok(response) if !(200..300).contains(&response.head.status) => {
            Some((DiagnosisCode::PreflightRefused, describe(&Fault::UnexpectedResponse(response))))
        }
        Ok(response) => check_cors(&response.head, origin).map(|(_, why)| {
            (DiagnosisCode::PreflightRefused, format!("in the response to the preflight, {why}"))
        }),
    }
}

/// The CORS check of the Fetch standard.
fn check_cors(head: &Head, origin: &str) -> Option<(DiagnosisCode, String)> {
    let mut all = head.all(header::ACCESS_CONTROL_ALLOW_ORIGIN);
    let (first, second) = (all.next(), all.next());
    let Some(first) = first else {
        return Some((
            DiagnosisCode::CorsMissing,
            "the header Access-Control-Allow-Origin is missing".to_owned(),
        ));
    };
    let shown = format!("Access-Control-Allow-Origin: {}", printable(first));
    if second.is_some() || first.contains(&b',') {
        return Some((DiagnosisCode::CorsDoubled, shown));
    }
    let is_good = first == b"*" || first == origin.as_bytes();
    (!is_good).then_some((DiagnosisCode::CorsOtherOrigin, shown))
}
