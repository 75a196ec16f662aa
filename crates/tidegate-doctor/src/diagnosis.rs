//! From the observations of all probes to one diagnosis: what is wrong, and who has to change something. It does no
//! I/O and does not know how the observations were made, so that each rule can be read and tested.

use super::code::DiagnosisCode;
use super::configuration::{Configuration, Destination};
use super::fault::{Fault, Response, Step};
use super::naming::{code_of, code_of_error, describe, is_about_upstream, upstream_code_of};
use super::probe::Observations;
use super::target::Target;
use std::time::Duration;

/// Which part has the fault and must change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Culprit {
    /// The server at the URL; what is behind it is unknown.
    Address,
    /// The gateway, or its configuration.
    Gateway,
    /// A hop between here and the upstream, possibly the gateway.
    Between,
    /// The upstream: the fault is the same directly at it.
    Upstream,
}

impl Culprit {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Gateway => "gateway",
            Self::Between => "between",
            Self::Upstream => "upstream",
        }
    }
}

/// What is wrong.
#[derive(Debug, Clone)]
pub struct Diagnosis {
    /// The stable code.
    pub code: DiagnosisCode,
    /// Who has to change something.
    pub blame: Culprit,
    /// The observation.
    pub seen: String,
    /// The line of the configuration to look at, as `file:line:column`.
    pub line: Option<String>,
}

/// An endpoint, and what a probe directly at it observed.
pub(crate) struct DirectProbe {
    /// `host:port`.
    pub name: String,
    /// Its line, if a configuration has it.
    pub line: Option<String>,
    /// The observations.
    pub observed: Observations,
}

/// All observations.
pub(crate) struct Evidence<'e> {
    /// The URL.
    pub target: &'e Target,
    /// The probe through the gateway.
    pub via_gateway: &'e Observations,
    /// The probes directly at the endpoints.
    pub direct_probes: &'e [DirectProbe],
    /// The upstream's status for a request without an upgrade, if it was needed.
    pub plain_status: Option<u16>,
    /// Whether the handshake works without an `Origin`, if that was tested.
    pub works_without_origin: bool,
    /// The fault in the responses to a page of another origin.
    pub cors: Option<(DiagnosisCode, String)>,
    /// The configuration.
    pub configuration: Option<&'e dyn Configuration>,
    /// The route and upstream of the URL.
    pub destination: Option<&'e Destination>,
    /// Timeout of each step.
    pub step_timeout: Duration,
}

impl Evidence<'_> {
    /// What is wrong, if anything is.
    pub(crate) fn diagnose(&self) -> Option<Diagnosis> {
        let Some((step, _, fault)) = &self.via_gateway.fault else { return self.minor_findings() };
        if matches!(step, Step::Dns | Step::Tcp | Step::Tls) {
            return Some(self.connection_failed(fault));
        }
        if let Fault::UnexpectedResponse(Response { gateway: Some((error, message)), .. }) = fault
            && let Some(code) = code_of_error(error)
        {
            return Some(self.reported_by_gateway(code, error, message));
        }
        Some(self.compared_with_direct(fault))
    }

    /// Faults that do not stop the request: CORS, and one endpoint out of several.
    fn minor_findings(&self) -> Option<Diagnosis> {
        if let Some((code, seen)) = &self.cors {
            return Some(Diagnosis {
                code: *code,
                blame: if self.configuration.is_some() {
                    Culprit::Gateway
                } else {
                    Culprit::Address
                },
                seen: seen.clone(),
                line: self.cors_line(),
            });
        }
        // A single endpoint that is unreachable from here may be reachable from the gateway;
        // one failing endpoint out of several is a fault.
        let failing = self.direct_probes.iter().find(|one| one.observed.fault.is_some())?;
        let working = self.direct_probes.iter().any(|one| one.observed.fault.is_none());
        let (_, _, fault) = failing.observed.fault.as_ref()?;
        working.then(|| Diagnosis {
            code: DiagnosisCode::EndpointFails,
            blame: Culprit::Upstream,
            seen: format!("{}: {}, {}", failing.name, code_of(fault).name(), describe(fault)),
            line: failing.line.clone(),
        })
    }

    /// The connection to the address fails: DNS, TCP or TLS.
    fn connection_failed(&self, fault: &Fault) -> Diagnosis {
        let mut diagnosis = Diagnosis {
            code: code_of(fault),
            blame: Culprit::Address,
            seen: format!("{}:{}: {}", self.target.host, self.target.port, describe(fault)),
            line: None,
        };
        if let (Fault::Refused, Some(configuration)) = (fault, self.configuration)
            && let Some((has_port, line)) = configuration.listener_line(self.target.port)
        {
            diagnosis.blame = Culprit::Gateway;
            diagnosis.line = Some(line);
            if !has_port {
                diagnosis.code = DiagnosisCode::WrongPort;
            }
        }
        diagnosis
    }

    /// The gateway itself reports an error. For an error of its upstream, the direct probe gives the details.
    fn reported_by_gateway(&self, code: DiagnosisCode, error: &str, message: &str) -> Diagnosis {
        let reported = format!("the gateway answered `{error}`: {message}");
        if is_about_upstream(code) {
            if let Some((failing, fault)) = self.failing_endpoint() {
                return Diagnosis {
                    code: upstream_code_of(fault),
                    blame: Culprit::Upstream,
                    seen: format!("{reported}; directly at {}: {}", failing.name, describe(fault)),
                    line: failing.line.clone(),
                };
            }
            let slow = self.destination.and_then(|destination| destination.lines.read.clone());
            let slow = slow.filter(|_| code == DiagnosisCode::UpstreamTimeout);
            let note = self.slow_service_note().filter(|_| code == DiagnosisCode::UpstreamTimeout);
            return Diagnosis {
                code,
                blame: Culprit::Upstream,
                seen: reported + &note.unwrap_or_default(),
                line: slow.or(self.endpoint_line()),
            };
        }
        let lines = self.destination.map(|destination| &destination.lines);
        let line = match code {
            DiagnosisCode::NoRoute | DiagnosisCode::MethodNotAllowed => {
                self.configuration.and_then(|it| it.nearest_route(self.target))
            }
            DiagnosisCode::WebSocketOff => lines.map(|lines| lines.websocket.clone()),
            DiagnosisCode::OriginRefused => {
                lines.map(|lines| lines.origins.clone()).or_else(|| self.cors_line())
            }
            DiagnosisCode::LoopDetected => self.endpoint_line(),
            DiagnosisCode::Http1Disabled => self
                .configuration
                .and_then(|it| it.listener_line(self.target.port))
                .and_then(|(has_port, line)| has_port.then_some(line)),
            _ => None,
        };
        let blame =
            if code == DiagnosisCode::UpgradeLost { Culprit::Between } else { Culprit::Gateway };
        let is_other_configuration = self.destination.is_some_and(|destination| match code {
            DiagnosisCode::NoRoute => true,
            DiagnosisCode::WebSocketOff => destination.allows_websocket,
            _ => false,
        });
        let seen = match is_other_configuration {
            true => format!(
                "{reported}. This configuration file would not give that answer, so the running \
                 gateway uses another one"
            ),
            false => reported,
        };
        Diagnosis { code, blame, seen, line }
    }

    /// The response time of the service, if it is longer than the route's timeout.
    fn slow_service_note(&self) -> Option<String> {
        let limit = self.destination?.read_timeout;
        let took = |direct: &DirectProbe| {
            let response = direct.observed.completed.iter().find(|(step, ..)| *step == Step::Http);
            response.map(|(_, took, _)| *took)
        };
        let mut slow = self.direct_probes.iter().filter_map(|it| Some((it, took(it)?)));
        let (slow, took) = slow.find(|(_, took)| *took > limit)?;
        Some(format!(
            "; the endpoint {} answers directly after {:.1} s, but the route waits only {} (`timeouts.read`)",
            slow.name,
            took.as_secs_f64(),
            humantime::format_duration(limit)
        ))
    }

    /// A note if the doctor's own timeout is shorter than the route's.
    fn short_timeout_note(&self, fault: &Fault) -> Option<String> {
        let limit = self.destination?.read_timeout;
        let is_late = matches!(fault, Fault::NoAnswer | Fault::NoBody) && self.step_timeout < limit;
        is_late.then(|| {
            format!(
                " within {} (--timeout); the route waits {} (`timeouts.read`)",
                humantime::format_duration(self.step_timeout),
                humantime::format_duration(limit)
            )
        })
    }

    /// The fault through the gateway, compared with the direct probes.
    fn compared_with_direct(&self, fault: &Fault) -> Diagnosis {
        let code = code_of(fault);
        let seen_here = describe(fault) + &self.short_timeout_note(fault).unwrap_or_default();
        let own = |code, blame, line| Diagnosis { code, blame, seen: seen_here.clone(), line };
        let origin = matches!(code, DiagnosisCode::Forbidden | DiagnosisCode::Unauthorized)
            && self.works_without_origin;
        if let Some((failing, direct)) = self.failing_endpoint() {
            let direct_code = code_of(direct);
            if direct_code == code {
                let code = if origin { DiagnosisCode::OriginRefused } else { code };
                let prefix = self.destination.map(|destination| destination.lines.prefix.clone());
                let line = prefix.filter(|_| {
                    matches!(code, DiagnosisCode::NotFound | DiagnosisCode::NotAWebSocket)
                });
                return own(code, Culprit::Upstream, line.or(failing.line.clone()));
            }
            // A proxy's status for the fault that the direct probe observes.
            let is_proxys_word = matches!(
                code,
                DiagnosisCode::BadGateway
                    | DiagnosisCode::Unavailable
                    | DiagnosisCode::GatewayTimeout
                    | DiagnosisCode::NoAnswer
                    | DiagnosisCode::ClosedBeforeAnswer
            );
            if is_proxys_word {
                return Diagnosis {
                    code: upstream_code_of(direct),
                    blame: Culprit::Upstream,
                    seen: format!(
                        "{}; directly at {}: {}",
                        describe(fault),
                        failing.name,
                        describe(direct)
                    ),
                    line: failing.line.clone(),
                };
            }
        }
        if origin {
            return own(DiagnosisCode::OriginRefused, Culprit::Address, None);
        }
        let Some(working) = self.direct_probes.iter().find(|one| one.observed.fault.is_none())
        else {
            return own(code, Culprit::Address, None);
        };
        match (code, fault) {
            (DiagnosisCode::NoPong | DiagnosisCode::BodyWithheld, _) => {
                own(DiagnosisCode::ProxyBuffering, Culprit::Between, None)
            }
            (DiagnosisCode::NoAnswer, _) if working.observed.streams() => {
                own(DiagnosisCode::ProxyBuffering, Culprit::Between, None)
            }
            (_, Fault::UnexpectedResponse(response))
                if self.target.is_websocket && self.plain_status == Some(response.head.status) =>
            {
                own(DiagnosisCode::UpgradeLost, Culprit::Between, None)
            }
            (DiagnosisCode::IdleCut, Fault::IdleCut(after, _)) => match self.idle_line(*after) {
                Some(line) => own(code, Culprit::Gateway, Some(line)),
                None => own(code, Culprit::Between, None),
            },
            _ => own(code, Culprit::Between, None),
        }
    }

    /// The first endpoint that fails, if none works.
    fn failing_endpoint(&self) -> Option<(&DirectProbe, &Fault)> {
        let works = self.direct_probes.iter().any(|one| one.observed.fault.is_none());
        let failing = self
            .direct_probes
            .iter()
            .find_map(|one| one.observed.fault.as_ref().map(|(_, _, fault)| (one, fault)));
        failing.filter(|_| !works)
    }

    fn endpoint_line(&self) -> Option<String> {
        self.direct_probes.first().and_then(|direct| direct.line.clone())
    }

    fn cors_line(&self) -> Option<String> {
        let lines = self.destination.map(|destination| destination.lines.cors.clone());
        lines.or_else(|| self.configuration.and_then(|it| it.global_cors()))
    }

    /// The line of the idle timeout, if it explains an end after this time.
    fn idle_line(&self, after: Duration) -> Option<String> {
        let (timeout, line) = self.destination?.idle_timeout.as_ref()?;
        (*timeout <= after + Duration::from_millis(500)).then(|| line.clone())
    }
}
