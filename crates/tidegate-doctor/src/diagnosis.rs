//! From what was seen to what is wrong: pure, so that each rule can be read and tried.

use super::code::Code;
use super::configuration::{Configuration, Destination};
use super::fault::{Answer, Fault, Step};
use super::naming::{code_of, gateways_own, is_of_upstream, seen, upstreams};
use super::probe::Observed;
use super::target::Target;
use std::time::Duration;

/// Who has to change something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// What the URL leads to; nobody knows what is behind it.
    Address,
    /// The gateway, or its configuration.
    Gateway,
    /// Something between here and the upstream, the gateway included.
    Between,
    /// The upstream: straight to it, it is the same.
    Upstream,
}

impl Blame {
    /// In words.
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
    /// By its name.
    pub code: Code,
    /// Who has to change something.
    pub blame: Blame,
    /// What was seen.
    pub seen: String,
    /// The line of the configuration to look at, as `file:line:column`.
    pub line: Option<String>,
}

/// One endpoint, and what a walk straight to it saw.
pub(crate) struct Straight {
    /// `host:port`.
    pub name: String,
    /// Its line, when a configuration names it.
    pub line: Option<String>,
    /// What was seen.
    pub observed: Observed,
}

/// All that was seen.
pub(crate) struct Evidence<'e> {
    /// The URL.
    pub target: &'e Target,
    /// Through the gateway.
    pub front: &'e Observed,
    /// Straight to its endpoints.
    pub straights: &'e [Straight],
    /// How the upstream answers when it is not asked to upgrade, where that matters.
    pub plain_status: Option<u16>,
    /// Whether it works without an `Origin`, where that matters.
    pub works_without_origin: bool,
    /// What is wrong with the answers to a page of another origin.
    pub cors: Option<(Code, String)>,
    /// The configuration.
    pub configuration: Option<&'e dyn Configuration>,
    /// Where it leads the URL.
    pub destination: Option<&'e Destination>,
    /// How long each step may take.
    pub patience: Duration,
}

impl Evidence<'_> {
    /// What is wrong, if anything is.
    pub(crate) fn diagnose(&self) -> Option<Diagnosis> {
        let Some((step, _, fault)) = &self.front.fault else { return self.smaller_faults() };
        if matches!(step, Step::Dns | Step::Tcp | Step::Tls) {
            return Some(self.at_the_door(fault));
        }
        if let Fault::Answered(Answer { gateway: Some((error, message)), .. }) = fault
            && let Some(code) = gateways_own(error)
        {
            return Some(self.gateway_said(code, error, message));
        }
        Some(self.compared(fault))
    }

    /// It works, but.
    fn smaller_faults(&self) -> Option<Diagnosis> {
        if let Some((code, seen)) = &self.cors {
            return Some(Diagnosis {
                code: *code,
                blame: if self.configuration.is_some() { Blame::Gateway } else { Blame::Address },
                seen: seen.clone(),
                line: self.cors_line(),
            });
        }
        // One endpoint that can't be reached from here may well be from where the gateway is;
        // one out of several is another matter.
        let sick = self.straights.iter().find(|one| one.observed.fault.is_some())?;
        let well = self.straights.iter().any(|one| one.observed.fault.is_none());
        let (_, _, fault) = sick.observed.fault.as_ref()?;
        well.then(|| Diagnosis {
            code: Code::EndpointFails,
            blame: Blame::Upstream,
            seen: format!("{}: {}, {}", sick.name, code_of(fault).name(), seen(fault)),
            line: sick.line.clone(),
        })
    }

    /// The address itself does not let anybody in.
    fn at_the_door(&self, fault: &Fault) -> Diagnosis {
        let mut diagnosis = Diagnosis {
            code: code_of(fault),
            blame: Blame::Address,
            seen: format!("{}:{}: {}", self.target.host, self.target.port, seen(fault)),
            line: None,
        };
        if let (Fault::Refused, Some(map)) = (fault, self.configuration)
            && let Some((has_port, line)) = map.listener(self.target.port)
        {
            diagnosis.blame = Blame::Gateway;
            diagnosis.line = Some(line);
            if !has_port {
                diagnosis.code = Code::WrongPort;
            }
        }
        diagnosis
    }

    /// The gateway says itself what is wrong; of an upstream the look straight at it knows more.
    fn gateway_said(&self, code: Code, error: &str, message: &str) -> Diagnosis {
        let said = format!("the gateway says `{error}`: {message}");
        if is_of_upstream(code) {
            if let Some((sick, fault)) = self.sick() {
                return Diagnosis {
                    code: upstreams(fault),
                    blame: Blame::Upstream,
                    seen: format!("{said}; straight to {}: {}", sick.name, seen(fault)),
                    line: sick.line.clone(),
                };
            }
            let slow = self.destination.and_then(|destination| destination.lines.read.clone());
            let slow = slow.filter(|_| code == Code::UpstreamTimeout);
            let beside = self.slower_than_route().filter(|_| code == Code::UpstreamTimeout);
            return Diagnosis {
                code,
                blame: Blame::Upstream,
                seen: said + &beside.unwrap_or_default(),
                line: slow.or(self.endpoint_line()),
            };
        }
        let lines = self.destination.map(|destination| &destination.lines);
        let line = match code {
            Code::NoRoute | Code::MethodNotAllowed => {
                self.configuration.and_then(|it| it.nearest(self.target))
            }
            Code::WebSocketOff => lines.map(|lines| lines.websocket.clone()),
            Code::OriginRefused => {
                lines.map(|lines| lines.origins.clone()).or_else(|| self.cors_line())
            }
            _ => None,
        };
        let blame = if code == Code::UpgradeLost { Blame::Between } else { Blame::Gateway };
        let is_otherwise = self.destination.is_some_and(|destination| match code {
            Code::NoRoute => true,
            Code::WebSocketOff => destination.takes_websocket,
            _ => false,
        });
        let seen = match is_otherwise {
            true => format!("{said}; by this file it would not: another one is running"),
            false => said,
        };
        Diagnosis { code, blame, seen, line }
    }

    /// How long the service takes straight, where that is longer than the route waits.
    fn slower_than_route(&self) -> Option<String> {
        let limit = self.destination?.read_timeout;
        let took = |straight: &Straight| {
            let answer = straight.observed.done.iter().find(|(step, ..)| *step == Step::Http);
            answer.map(|(_, took, _)| *took)
        };
        let mut slow = self.straights.iter().filter_map(|it| Some((it, took(it)?)));
        let (slow, took) = slow.find(|(_, took)| *took > limit)?;
        Some(format!(
            "; straight to {} it answers after {:.1} s, and the route waits {} (`timeouts.read`)",
            slow.name,
            took.as_secs_f64(),
            humantime::format_duration(limit)
        ))
    }

    /// That the doctor has waited for less than the gateway would, where it has.
    fn less_patient_than_route(&self, fault: &Fault) -> Option<String> {
        let limit = self.destination?.read_timeout;
        let is_late = matches!(fault, Fault::NoAnswer | Fault::NoBody) && self.patience < limit;
        is_late.then(|| {
            format!(
                " within {} (--timeout); the route waits {} (`timeouts.read`)",
                humantime::format_duration(self.patience),
                humantime::format_duration(limit)
            )
        })
    }

    /// The fault through the gateway beside what is seen straight.
    fn compared(&self, fault: &Fault) -> Diagnosis {
        let code = code_of(fault);
        let seen_here = seen(fault) + &self.less_patient_than_route(fault).unwrap_or_default();
        let own = |code, blame, line| Diagnosis { code, blame, seen: seen_here.clone(), line };
        let origin =
            matches!(code, Code::Forbidden | Code::Unauthorized) && self.works_without_origin;
        if let Some((sick, straight)) = self.sick() {
            let straight_code = code_of(straight);
            if straight_code == code {
                let code = if origin { Code::OriginRefused } else { code };
                let prefix = self.destination.map(|destination| destination.lines.prefix.clone());
                let line = prefix.filter(|_| matches!(code, Code::NotFound | Code::NotAWebSocket));
                return own(code, Blame::Upstream, line.or(sick.line.clone()));
            }
            // A proxy's word for what is seen straight.
            let is_proxys_word = matches!(
                code,
                Code::BadGateway
                    | Code::Unavailable
                    | Code::GatewayTimeout
                    | Code::NoAnswer
                    | Code::ClosedBeforeAnswer
            );
            if is_proxys_word {
                return Diagnosis {
                    code: upstreams(straight),
                    blame: Blame::Upstream,
                    seen: format!("{}; straight to {}: {}", seen(fault), sick.name, seen(straight)),
                    line: sick.line.clone(),
                };
            }
        }
        if origin {
            return own(Code::OriginRefused, Blame::Address, None);
        }
        let Some(well) = self.straights.iter().find(|one| one.observed.fault.is_none()) else {
            return own(code, Blame::Address, None);
        };
        match (code, fault) {
            (Code::NoPong | Code::BodyWithheld, _) => {
                own(Code::ProxyBuffering, Blame::Between, None)
            }
            (Code::NoAnswer, _) if well.observed.streams() => {
                own(Code::ProxyBuffering, Blame::Between, None)
            }
            (_, Fault::Answered(answer))
                if self.target.is_websocket && self.plain_status == Some(answer.head.status) =>
            {
                own(Code::UpgradeLost, Blame::Between, None)
            }
            (Code::IdleCut, Fault::IdleCut(after, _)) => match self.idle_line(*after) {
                Some(line) => own(code, Blame::Gateway, Some(line)),
                None => own(code, Blame::Between, None),
            },
            _ => own(code, Blame::Between, None),
        }
    }

    /// The first endpoint that fails, when none works.
    fn sick(&self) -> Option<(&Straight, &Fault)> {
        let works = self.straights.iter().any(|one| one.observed.fault.is_none());
        let sick = self
            .straights
            .iter()
            .find_map(|one| one.observed.fault.as_ref().map(|(_, _, fault)| (one, fault)));
        sick.filter(|_| !works)
    }

    fn endpoint_line(&self) -> Option<String> {
        self.straights.first().and_then(|straight| straight.line.clone())
    }

    fn cors_line(&self) -> Option<String> {
        let lines = self.destination.map(|destination| destination.lines.cors.clone());
        lines.or_else(|| self.configuration.and_then(|it| it.default_cors()))
    }

    /// The line of an idle timeout that is the reason for an end after so long.
    fn idle_line(&self, after: Duration) -> Option<String> {
        let (timeout, line) = self.destination?.idle_timeout.as_ref()?;
        (*timeout <= after + Duration::from_millis(500)).then(|| line.clone())
    }
}
