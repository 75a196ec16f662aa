//! Whether a page of another origin may read the answers (Fetch, "HTTP-network-or-cache fetch"
//! and "CORS check").

use super::code::Code;
use super::fault::Fault;
use super::head::Head;
use super::naming::seen;
use super::plan::Plan;
use super::probe::{self, Observed};
use super::target::quoted;
use tidegate_http::origin::Origin;

/// What is wrong with the answers to this plan's origin: the one that came, and a preflight's.
pub(crate) async fn examine(plan: &Plan, front: &Observed) -> Option<(Code, String)> {
    let origin = plan.origin.as_deref()?;
    // A page of the very same host asks nobody for leave.
    let scheme = if plan.trust.is_some() { "https" } else { "http" };
    if Origin::parse(origin).is_some_and(|origin| origin.is_own(&plan.authority, scheme)) {
        return None;
    }
    // The preflight is asked first: its refusal says why.
    let names: Vec<String> =
        plan.fields.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    let asked = ["content-type".to_owned()].into_iter().chain(names).collect::<Vec<_>>();
    let request = probe::request(plan, "OPTIONS")
        .with("Access-Control-Request-Method", "GET")
        .with("Access-Control-Request-Headers", &asked.join(","))
        .with("Connection", "close")
        .finish();
    let preflight = probe::ask(plan, request).await;
    if let Ok(answer) = &preflight
        && let Some((error, message)) = &answer.gateway
    {
        let code = match error.as_str() {
            "origin_not_allowed" => Code::OriginRefused,
            _ => Code::PreflightRefused,
        };
        return Some((code, format!("the gateway says `{error}`: {message}")));
    }
    if let Some(fault) = front.head.as_ref().and_then(|head| judge(head, origin)) {
        return Some(fault);
    }
    match preflight {
        Err(fault) => Some((Code::PreflightRefused, seen(&fault))),
        Ok(answer) if !(200..300).contains(&answer.head.status) => {
            Some((Code::PreflightRefused, seen(&Fault::Answered(answer))))
        }
        Ok(answer) => judge(&answer.head, origin)
            .map(|(_, why)| (Code::PreflightRefused, format!("in the preflight's answer, {why}"))),
    }
}

/// The CORS check of the Fetch standard.
fn judge(head: &Head, origin: &str) -> Option<(Code, String)> {
    let mut all = head.all("access-control-allow-origin");
    let (first, second) = (all.next(), all.next());
    let Some(first) = first else {
        return Some((Code::CorsMissing, "no Access-Control-Allow-Origin".to_owned()));
    };
    let shown = format!("Access-Control-Allow-Origin: {}", quoted(first));
    if second.is_some() || first.contains(&b',') {
        return Some((Code::CorsDoubled, shown));
    }
    let is_good = first == b"*" || first == origin.as_bytes();
    (!is_good).then_some((Code::CorsOtherOrigin, shown))
}
