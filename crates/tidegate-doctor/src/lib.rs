//! The diagnosis behind `tidegate doctor`: follows a request step by step, through the gateway and directly to the
//! upstream, and names the fault, its cause and the line to change. It does not know how the gateway routes or reads
//! its configuration: the trait [`Configuration`] answers both.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod code;
mod configuration;
mod connect;
mod diagnosis;
mod fault;
mod frames;
mod handshake;
mod head;
mod http1;
mod http2;
mod naming;
mod origin;
mod plan;
mod probe;
mod report;
mod stream;
mod target;

pub use code::DiagnosisCode;
pub use configuration::{Configuration, Destination, Endpoint, RouteLines};
pub use connect::ClientTls;
pub use diagnosis::{Culprit, Diagnosis};

pub use report::{Outcome, Report, StepReport};
pub use target::Target;

use diagnosis::{DirectProbe, Evidence};
use fault::{Fault, Step};
use naming::{code_of, describe};
use plan::ProbePlan;
use probe::Observations;
use std::time::Duration;
use tidegate_http::header_name::spelled;
use tidegate_http::secret::{REDACTED, is_secret};

/// Maximum number of endpoints that are probed directly.
const MAX_EXAMINED_ENDPOINTS: usize = 8;

/// What to examine, and how.
pub struct Examination {
    /// The URL.
    pub target: Target,
    /// The gateway's configuration, if there is one.
    pub configuration: Option<Box<dyn Configuration>>,
    /// The upstream to probe directly, instead of the configuration's.
    pub upstream: Option<(String, u16)>,
    /// The origin of the page that connects.
    pub origin: Option<String>,
    /// The subprotocols to offer.
    pub protocols: Vec<String>,
    /// Additional headers.
    pub headers: Vec<(String, String)>,
    /// How long the connection stays idle; zero skips this step.
    pub idle: Duration,
    /// Timeout of each step.
    pub step_timeout: Duration,
    /// The trusted certificates; needed only for `wss` and `https`.
    pub trust: Option<ClientTls>,
    /// Accepts every certificate: used to continue after an invalid one.
    pub any_certificate: ClientTls,
}

impl Examination {
    /// Probes the gateway and the endpoints, and reports the findings.
    pub async fn run(self) -> Report {
        let destination =
            self.configuration.as_deref().and_then(|it| it.route_of(&self.target, &self.headers));
        let gateway_plan = self.gateway_plan();
        let via_gateway = probe::run(&gateway_plan).await;
        // Not concurrently: many services end a user's older session for a newer one.
        let direct_plans = self.direct_plans(destination.as_ref(), &via_gateway);
        let direct_probes = probe_all(&direct_plans).await;

        let works_without_origin = match self.is_refused_with_origin(&via_gateway) {
            true => works_without_origin(&gateway_plan).await,
            false => false,
        };
        let healthy = direct_probes.iter().position(|direct| direct.observed.fault.is_none());
        let plain_status = match healthy.and_then(|index| direct_plans.get(index)) {
            Some((_, _, plan)) if self.may_have_lost_upgrade(&via_gateway) => {
                let request =
                    probe::request(plan, "GET").header(spelled::CONNECTION, "close").finish();
                probe::send_request(plan, request).await.ok().map(|response| response.head.status)
            }
            _ => None,
        };
        let cors = match self.asks_for_cors(&via_gateway) {
            true => origin::examine(&gateway_plan, &via_gateway).await,
            false => None,
        };
        let evidence = Evidence {
            target: &self.target,
            via_gateway: &via_gateway,
            direct_probes: &direct_probes,
            plain_status,
            works_without_origin,
            cors,
            configuration: self.configuration.as_deref(),
            destination: destination.as_ref(),
            step_timeout: self.step_timeout,
        };
        let diagnosis = evidence.diagnose();
        let steps = self.steps(&via_gateway, &direct_probes, diagnosis.as_ref());
        let mut report = Report {
            url: self.target.to_string(),
            route: destination.map(|it| (it.route, it.lines.route, it.upstream)),
            steps,
            diagnosis,
        };
        self.scrub(&mut report);
        report
    }

    fn gateway_plan(&self) -> ProbePlan {
        ProbePlan {
            host: self.target.host.clone(),
            port: self.target.port,
            trust: self.trust.clone().filter(|_| self.target.is_tls),
            any_certificate: self.any_certificate.clone(),
            server_name: None,
            speaks_http2: false,
            // The gateway identifies itself in `Proxy-Status`, unless that is switched off or unknown.
            trusts_json: self.configuration.as_deref().is_none_or(|it| !it.sends_proxy_status()),
            path_and_query: self.target.path_and_query(),
            authority: self.target.authority.clone(),
            origin: self.origin.clone(),
            is_websocket: self.target.is_websocket,
            protocols: self.protocols.clone(),
            headers: self.headers.clone(),
            step_timeout: self.step_timeout,
            idle: self.idle,
        }
    }

    /// The probes directly to the upstream, each with its name and line, with the upstream's TLS and protocol.
    fn direct_plans(
        &self,
        destination: Option<&Destination>,
        via_gateway: &Observations,
    ) -> Vec<(String, Option<String>, ProbePlan)> {
        // Only an idle step that failed through the gateway needs a comparison.
        let is_idle_in_doubt = matches!(via_gateway.fault, Some((Step::Idle, ..)));
        let speaks_http2 =
            destination.is_some_and(|it| it.speaks_http2) && !self.target.is_websocket;
        let trust = destination.and_then(|it| it.trust.clone());
        let base = ProbePlan {
            trust: if speaks_http2 { trust.map(|it| it.over_http2()) } else { trust },
            server_name: destination.and_then(|it| it.server_name.clone()),
            speaks_http2,
            trusts_json: false,
            idle: if is_idle_in_doubt { self.idle } else { Duration::ZERO },
            path_and_query: destination
                .map_or_else(|| self.target.path_and_query(), |it| it.path_and_query.clone()),
            ..self.gateway_plan()
        };
        if let Some((host, port)) = &self.upstream {
            let name = match host.contains(':') {
                true => format!("[{host}]:{port}"),
                false => format!("{host}:{port}"),
            };
            return vec![(name, None, ProbePlan { host: host.clone(), port: *port, ..base })];
        }
        let endpoints = destination.into_iter().flat_map(|destination| &destination.endpoints);
        endpoints
            .take(MAX_EXAMINED_ENDPOINTS)
            .map(|endpoint| {
                let plan = ProbePlan {
                    host: endpoint.host.clone(),
                    port: endpoint.port,
                    authority: endpoint.authority.clone(),
                    ..base.clone()
                };
                (endpoint.name.clone(), Some(endpoint.line.clone()), plan)
            })
            .collect()
    }

    fn is_refused_with_origin(&self, via_gateway: &Observations) -> bool {
        let Some((_, _, Fault::UnexpectedResponse(response))) = &via_gateway.fault else {
            return false;
        };
        self.origin.is_some()
            && self.target.is_websocket
            && response.gateway.is_none()
            && matches!(response.head.status, 401 | 403)
    }

    fn may_have_lost_upgrade(&self, via_gateway: &Observations) -> bool {
        let Some((_, _, Fault::UnexpectedResponse(response))) = &via_gateway.fault else {
            return false;
        };
        self.target.is_websocket && response.gateway.is_none()
    }

    fn asks_for_cors(&self, via_gateway: &Observations) -> bool {
        !self.target.is_websocket && self.origin.is_some() && via_gateway.fault.is_none()
    }

    /// The step at which the expected response arrives.
    fn final_step(&self) -> Step {
        if self.target.is_websocket { Step::Handshake } else { Step::Response }
    }

    /// The steps of the report, in the order in which they were taken.
    fn steps(
        &self,
        via_gateway: &Observations,
        direct_probes: &[DirectProbe],
        diagnosis: Option<&Diagnosis>,
    ) -> Vec<StepReport> {
        let skipped = |step, detail: &str| StepReport {
            step,
            outcome: Outcome::Skipped,
            took: None,
            detail: detail.to_owned(),
        };
        let own = |reported: Step| {
            let done = via_gateway.completed.iter().find(|(step, ..)| *step == reported);
            let mut failures = via_gateway.fault.iter().chain(&via_gateway.later_fault);
            let failed = failures.find(|(step, ..)| *step == reported);
            match (done, failed) {
                (_, Some((step, took, fault))) => {
                    let detail = format!("{}: {}", code_of(fault).name(), describe(fault));
                    StepReport { step: *step, outcome: Outcome::Failed, took: Some(*took), detail }
                }
                (Some((step, took, detail)), None) => StepReport {
                    step: *step,
                    outcome: Outcome::Ok,
                    took: Some(*took),
                    detail: detail.clone(),
                },
                (None, None) if via_gateway.fault.is_some() => skipped(reported, ""),
                (None, None) => skipped(reported, "not applicable"),
            }
        };
        let mut steps: Vec<StepReport> =
            [Step::Dns, Step::Tcp, Step::Tls, Step::Http, self.final_step()].map(own).into();
        if direct_probes.is_empty() {
            let hint = "name an endpoint with --upstream, or the configuration file with --config";
            steps.push(skipped(Step::Direct, hint));
        }
        steps.extend(direct_probes.iter().map(direct_step));
        steps.push(self.origin_step(via_gateway, diagnosis));
        if self.target.is_websocket {
            steps.push(own(Step::Ping));
            steps.push(own(Step::Idle));
        }
        steps
    }

    fn origin_step(&self, via_gateway: &Observations, diagnosis: Option<&Diagnosis>) -> StepReport {
        let line = |outcome, detail: String| StepReport {
            step: Step::Origin,
            outcome,
            took: None,
            detail,
        };
        let Some(origin) = &self.origin else {
            return line(Outcome::Skipped, "name the page's origin with --origin".to_owned());
        };
        let refused = diagnosis.filter(|found| {
            matches!(
                found.code,
                DiagnosisCode::OriginRefused
                    | DiagnosisCode::CorsMissing
                    | DiagnosisCode::CorsDoubled
                    | DiagnosisCode::CorsOtherOrigin
                    | DiagnosisCode::PreflightRefused
            )
        });
        let opened = via_gateway.completed.iter().any(|(step, ..)| *step == self.final_step());
        match refused {
            Some(found) => line(Outcome::Failed, found.code.name().to_owned()),
            None if opened => line(Outcome::Ok, format!("{origin} is allowed")),
            None => line(Outcome::Skipped, String::new()),
        }
    }

    /// Removes secrets that a server may have sent back.
    fn scrub(&self, report: &mut Report) {
        let own = self.configuration.as_deref().map(|it| it.secret_names()).unwrap_or_default();
        let is_secret = |name: &str| is_secret(name) || own.contains(name);
        let query = self.target.query.as_deref().unwrap_or_default();
        let mut secrets: Vec<String> =
            self.headers.iter().map(|(_, value)| value.clone()).collect();
        for pair in query.split('&') {
            let decoded = form_urlencoded::parse(pair.as_bytes()).next();
            if let Some((_, value)) = decoded.filter(|(key, _)| is_secret(key)) {
                secrets.push(value.into_owned());
                secrets.extend(pair.split_once('=').map(|(_, raw)| raw.to_owned()));
            }
        }
        // Shorter values are no secrets, and part of other words. The longest first, since one
        // may contain another.
        secrets.retain(|secret| secret.len() > 3);
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let scrub = |text: &mut String| {
            for secret in &secrets {
                if text.contains(secret.as_str()) {
                    *text = text.replace(secret.as_str(), REDACTED);
                }
            }
        };
        scrub(&mut report.url);
        report.steps.iter_mut().for_each(|line| scrub(&mut line.detail));
        if let Some(found) = &mut report.diagnosis {
            scrub(&mut found.seen);
        }
    }
}

fn direct_step(direct: &DirectProbe) -> StepReport {
    let took = direct.observed.completed.iter().map(|(_, took, _)| *took).sum();
    let (outcome, detail) = match &direct.observed.fault {
        None => (Outcome::Ok, format!("{} works", direct.name)),
        Some((_, _, fault)) => {
            let detail = format!("{}: {}, {}", direct.name, code_of(fault).name(), describe(fault));
            (Outcome::Failed, detail)
        }
    };
    StepReport { step: Step::Direct, outcome, took: Some(took), detail }
}

async fn probe_all(plans: &[(String, Option<String>, ProbePlan)]) -> Vec<DirectProbe> {
    let mut running = tokio::task::JoinSet::new();
    for (index, (name, line, plan)) in plans.iter().cloned().enumerate() {
        running.spawn(async move {
            (index, DirectProbe { name, line, observed: probe::run(&plan).await })
        });
    }
    let mut all = running.join_all().await;
    all.sort_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, direct)| direct).collect()
}

/// Whether the handshake succeeds without an `Origin` header.
async fn works_without_origin(plan: &ProbePlan) -> bool {
    let plan = ProbePlan { origin: None, idle: Duration::ZERO, ..plan.clone() };
    let seen = probe::run(&plan).await;
    seen.completed.iter().any(|(step, ..)| *step == Step::Handshake)
}
