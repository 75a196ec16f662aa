//! `tidegate doctor`: walks the way of a request step by step, through the gateway and straight
//! to the upstream, and says what is wrong, why, and which line to change.
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
mod head;
mod http1;
mod http2;
mod naming;
mod origin;
mod plan;
mod probe;
mod report;
mod switch;
mod target;
mod wire;

pub use code::Code;
pub use configuration::{Configuration, Destination, Endpoint, Lines};
pub use connect::Trust;
pub use diagnosis::{Blame, Diagnosis};

pub use report::{Line, Report, Went};
pub use target::Target;

use diagnosis::{Evidence, Straight};
use fault::{Fault, Step};
use naming::{code_of, seen};
use plan::Plan;
use probe::Observed;
use std::time::Duration;
use tidegate_http::secret::is_secret;

/// The most endpoints that are tried.
const MAX_ENDPOINTS: usize = 8;

/// What to examine, and how.
pub struct Examination {
    /// The URL.
    pub target: Target,
    /// The configuration, if there is one.
    pub configuration: Option<Box<dyn Configuration>>,
    /// The upstream to go straight to, in the place of the configuration's.
    pub upstream: Option<(String, u16)>,
    /// The origin of the page in play.
    pub origin: Option<String>,
    /// The subprotocols to offer.
    pub protocols: Vec<String>,
    /// Further header fields.
    pub fields: Vec<(String, String)>,
    /// How long to stay without traffic; zero skips it.
    pub idle: Duration,
    /// How long each step may take.
    pub patience: Duration,
    /// Who is trusted over TLS; needed for `wss` and `https` alone.
    pub trust: Option<Trust>,
    /// Accepts every certificate: to go on after one that is not good.
    pub any_certificate: Trust,
}

impl Examination {
    /// Walks all ways and says what was found.
    pub async fn run(self) -> Report {
        let destination =
            self.configuration.as_deref().and_then(|it| it.find(&self.target, &self.fields));
        let front_plan = self.front();
        let front = probe::walk(&front_plan).await;
        // Not at the same time: many a service ends a user's older session for a newer one.
        let straight_plans = self.straights(destination.as_ref(), &front);
        let straights = walk_all(&straight_plans).await;

        let works_without_origin = match self.is_refused_with_origin(&front) {
            true => works_without_origin(&front_plan).await,
            false => false,
        };
        let healthy = straights.iter().position(|straight| straight.observed.fault.is_none());
        let plain_status = match healthy.and_then(|index| straight_plans.get(index)) {
            Some((_, _, plan)) if self.may_have_lost_upgrade(&front) => {
                let request = probe::request(plan, "GET").with("Connection", "close").finish();
                probe::ask(plan, request).await.ok().map(|answer| answer.head.status)
            }
            _ => None,
        };
        let cors = match self.asks_for_cors(&front) {
            true => origin::examine(&front_plan, &front).await,
            false => None,
        };
        let evidence = Evidence {
            target: &self.target,
            front: &front,
            straights: &straights,
            plain_status,
            works_without_origin,
            cors,
            configuration: self.configuration.as_deref(),
            destination: destination.as_ref(),
            patience: self.patience,
        };
        let diagnosis = evidence.diagnose();
        let lines = self.lines(&front, &straights, diagnosis.as_ref());
        let mut report = Report {
            url: self.target.to_string(),
            route: destination.map(|it| (it.route, it.lines.route, it.upstream)),
            lines,
            diagnosis,
        };
        self.scrub(&mut report);
        report
    }

    fn front(&self) -> Plan {
        Plan {
            host: self.target.host.clone(),
            port: self.target.port,
            trust: self.trust.clone().filter(|_| self.target.is_tls),
            any_certificate: self.any_certificate.clone(),
            server_name: None,
            speaks_http2: false,
            // The gateway says it in a header, unless its configuration is unknown or says otherwise.
            trusts_json: self.configuration.as_deref().is_none_or(|it| !it.sends_proxy_status()),
            path_and_query: self.target.path_and_query(),
            authority: self.target.authority.clone(),
            origin: self.origin.clone(),
            is_websocket: self.target.is_websocket,
            protocols: self.protocols.clone(),
            fields: self.fields.clone(),
            patience: self.patience,
            idle: self.idle,
        }
    }

    /// The ways straight to the upstream, each with its name and line, by its own TLS and protocol.
    fn straights(
        &self,
        destination: Option<&Destination>,
        front: &Observed,
    ) -> Vec<(String, Option<String>, Plan)> {
        // An idle while that went well has nothing to be compared with.
        let is_idle_in_doubt = matches!(front.fault, Some((Step::Idle, ..)));
        let speaks_http2 =
            destination.is_some_and(|it| it.speaks_http2) && !self.target.is_websocket;
        let trust = destination.and_then(|it| it.trust.clone());
        let base = Plan {
            trust: if speaks_http2 { trust.map(|it| it.over_http2()) } else { trust },
            server_name: destination.and_then(|it| it.server_name.clone()),
            speaks_http2,
            trusts_json: false,
            idle: if is_idle_in_doubt { self.idle } else { Duration::ZERO },
            path_and_query: destination
                .map_or_else(|| self.target.path_and_query(), |it| it.path_and_query.clone()),
            ..self.front()
        };
        if let Some((host, port)) = &self.upstream {
            let name = match host.contains(':') {
                true => format!("[{host}]:{port}"),
                false => format!("{host}:{port}"),
            };
            return vec![(name, None, Plan { host: host.clone(), port: *port, ..base })];
        }
        let endpoints = destination.into_iter().flat_map(|destination| &destination.endpoints);
        endpoints
            .take(MAX_ENDPOINTS)
            .map(|endpoint| {
                let plan = Plan {
                    host: endpoint.host.clone(),
                    port: endpoint.port,
                    authority: endpoint.authority.clone(),
                    ..base.clone()
                };
                (endpoint.name.clone(), Some(endpoint.line.clone()), plan)
            })
            .collect()
    }

    fn is_refused_with_origin(&self, front: &Observed) -> bool {
        let Some((_, _, Fault::Answered(answer))) = &front.fault else { return false };
        self.origin.is_some()
            && self.target.is_websocket
            && answer.gateway.is_none()
            && matches!(answer.head.status, 401 | 403)
    }

    fn may_have_lost_upgrade(&self, front: &Observed) -> bool {
        let Some((_, _, Fault::Answered(answer))) = &front.fault else { return false };
        self.target.is_websocket && answer.gateway.is_none()
    }

    fn asks_for_cors(&self, front: &Observed) -> bool {
        !self.target.is_websocket && self.origin.is_some() && front.fault.is_none()
    }

    /// The step at which the answer is the one that was wanted.
    fn wanted(&self) -> Step {
        if self.target.is_websocket { Step::Handshake } else { Step::Answer }
    }

    /// The report's lines, in the order of the walk.
    fn lines(
        &self,
        front: &Observed,
        straights: &[Straight],
        diagnosis: Option<&Diagnosis>,
    ) -> Vec<Line> {
        let skipped = |step, says: &str| Line {
            step,
            went: Went::Skipped,
            took: None,
            says: says.to_owned(),
        };
        let own = |wanted: Step| {
            let done = front.done.iter().find(|(step, ..)| *step == wanted);
            let mut failures = front.fault.iter().chain(&front.later);
            let failed = failures.find(|(step, ..)| *step == wanted);
            match (done, failed) {
                (_, Some((step, took, fault))) => {
                    let says = format!("{}: {}", code_of(fault).name(), seen(fault));
                    Line { step: *step, went: Went::Failed, took: Some(*took), says }
                }
                (Some((step, took, says)), None) => {
                    Line { step: *step, went: Went::Ok, took: Some(*took), says: says.clone() }
                }
                (None, None) if front.fault.is_some() => skipped(wanted, ""),
                (None, None) => skipped(wanted, "not needed"),
            }
        };
        let mut lines: Vec<Line> =
            [Step::Dns, Step::Tcp, Step::Tls, Step::Http, self.wanted()].map(own).into();
        if straights.is_empty() {
            let hint = "name it with --upstream, or its configuration with --config";
            lines.push(skipped(Step::Straight, hint));
        }
        lines.extend(straights.iter().map(straight_line));
        lines.push(self.origin_line(front, diagnosis));
        if self.target.is_websocket {
            lines.push(own(Step::Ping));
            lines.push(own(Step::Idle));
        }
        lines
    }

    fn origin_line(&self, front: &Observed, diagnosis: Option<&Diagnosis>) -> Line {
        let line = |went, says: String| Line { step: Step::Origin, went, took: None, says };
        let Some(origin) = &self.origin else {
            return line(Went::Skipped, "name the page's with --origin".to_owned());
        };
        let refused = diagnosis.filter(|found| {
            matches!(
                found.code,
                Code::OriginRefused
                    | Code::CorsMissing
                    | Code::CorsDoubled
                    | Code::CorsOtherOrigin
                    | Code::PreflightRefused
            )
        });
        let opened = front.done.iter().any(|(step, ..)| *step == self.wanted());
        match refused {
            Some(found) => line(Went::Failed, found.code.name().to_owned()),
            None if opened => line(Went::Ok, format!("{origin} is let in")),
            None => line(Went::Skipped, String::new()),
        }
    }

    /// Takes secrets out that a server may have sent back.
    fn scrub(&self, report: &mut Report) {
        let own = self.configuration.as_deref().map(|it| it.secret_names()).unwrap_or_default();
        let is_secret = |name: &str| is_secret(name) || own.contain(name);
        let query = self.target.query.as_deref().unwrap_or_default();
        let mut secrets: Vec<String> = self.fields.iter().map(|(_, value)| value.clone()).collect();
        for pair in query.split('&') {
            let decoded = form_urlencoded::parse(pair.as_bytes()).next();
            if let Some((_, value)) = decoded.filter(|(key, _)| is_secret(key)) {
                secrets.push(value.into_owned());
                secrets.extend(pair.split_once('=').map(|(_, raw)| raw.to_owned()));
            }
        }
        // What is shorter is no secret, and part of other words. The longest first, for one
        // may hold another.
        secrets.retain(|secret| secret.len() > 3);
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let scrub = |text: &mut String| {
            for secret in &secrets {
                if text.contains(secret.as_str()) {
                    *text = text.replace(secret.as_str(), "REDACTED");
                }
            }
        };
        scrub(&mut report.url);
        report.lines.iter_mut().for_each(|line| scrub(&mut line.says));
        if let Some(found) = &mut report.diagnosis {
            scrub(&mut found.seen);
        }
    }
}

fn straight_line(straight: &Straight) -> Line {
    let took = straight.observed.done.iter().map(|(_, took, _)| *took).sum();
    let (went, says) = match &straight.observed.fault {
        None => (Went::Ok, format!("{} works", straight.name)),
        Some((_, _, fault)) => {
            let says = format!("{}: {}, {}", straight.name, code_of(fault).name(), seen(fault));
            (Went::Failed, says)
        }
    };
    Line { step: Step::Straight, went, took: Some(took), says }
}

async fn walk_all(plans: &[(String, Option<String>, Plan)]) -> Vec<Straight> {
    let mut running = tokio::task::JoinSet::new();
    for (index, (name, line, plan)) in plans.iter().cloned().enumerate() {
        running.spawn(async move {
            (index, Straight { name, line, observed: probe::walk(&plan).await })
        });
    }
    let mut all = running.join_all().await;
    all.sort_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, straight)| straight).collect()
}

/// Whether the handshake is taken when no page is named.
async fn works_without_origin(plan: &Plan) -> bool {
    let plan = Plan { origin: None, idle: Duration::ZERO, ..plan.clone() };
    let seen = probe::walk(&plan).await;
    seen.done.iter().any(|(step, ..)| *step == Step::Handshake)
}
