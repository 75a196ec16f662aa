//! From what was seen to what is wrong: pure, so that each rule can be read and tried.

use super::code::Code;
use super::fault::{Answer, Certificate, Fault, Step};
use super::map::{Destination, Map};
use super::probe::Observed;
use super::target::{Target, shown};
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
pub struct Straight {
    /// `host:port`.
    pub name: String,
    /// Its line, when a configuration names it.
    pub line: Option<String>,
    /// What was seen.
    pub observed: Observed,
}

/// All that was seen.
pub struct Evidence<'e> {
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
    pub map: Option<&'e Map>,
    /// Where it leads the URL.
    pub destination: Option<&'e Destination>,
}

impl Evidence<'_> {
    /// What is wrong, if anything is.
    pub fn diagnose(&self) -> Option<Diagnosis> {
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
                blame: if self.map.is_some() { Blame::Gateway } else { Blame::Address },
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
        if let (Fault::Refused, Some(map)) = (fault, self.map)
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
            return Diagnosis {
                code,
                blame: Blame::Upstream,
                seen: said,
                line: slow.or(self.endpoint_line()),
            };
        }
        let lines = self.destination.map(|destination| &destination.lines);
        let line = match code {
            Code::NoRoute | Code::MethodNotAllowed => {
                self.map.and_then(|map| map.nearest(self.target))
            }
            Code::WebSocketOff => lines.map(|lines| lines.websocket.clone()),
            Code::OriginRefused => self.cors_line(),
            _ => None,
        };
        let blame = if code == Code::UpgradeLost { Blame::Between } else { Blame::Gateway };
        Diagnosis { code, blame, seen: said, line }
    }

    /// The fault through the gateway beside what is seen straight.
    fn compared(&self, fault: &Fault) -> Diagnosis {
        let code = code_of(fault);
        let own = |code, blame, line| Diagnosis { code, blame, seen: seen(fault), line };
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
        lines.or_else(|| self.map.and_then(Map::default_cors))
    }

    /// The line of an idle timeout that is the reason for an end after so long.
    fn idle_line(&self, after: Duration) -> Option<String> {
        let (timeout, line) = self.destination?.idle_timeout.as_ref()?;
        (*timeout <= after + Duration::from_millis(500)).then(|| line.clone())
    }
}

/// What the gateway's own `error` stands for.
fn gateways_own(error: &str) -> Option<Code> {
    Some(match error {
        "no_route" => Code::NoRoute,
        "websocket_off" => Code::WebSocketOff,
        "origin_not_allowed" => Code::OriginRefused,
        "method_not_allowed_by_cors" | "header_not_allowed_by_cors" => Code::PreflightRefused,
        "bad_websocket_handshake" => Code::UpgradeLost,
        "upstream_unreachable" => Code::UpstreamUnreachable,
        "upstream_unavailable" => Code::UpstreamUnresolved,
        "upstream_timeout" => Code::UpstreamTimeout,
        "upstream_failed" => Code::UpstreamFailed,
        "method_not_allowed" => Code::MethodNotAllowed,
        "headers_too_large" | "uri_too_long" | "body_too_large" => Code::RequestTooLarge,
        "internal_error" => Code::GatewayError,
        "bad_request" => Code::BadRequest,
        _ => return None,
    })
}

fn is_of_upstream(code: Code) -> bool {
    matches!(
        code,
        Code::UpstreamUnreachable
            | Code::UpstreamUnresolved
            | Code::UpstreamTimeout
            | Code::UpstreamFailed
    )
}

/// A fault of an upstream, as seen from a gateway in front of it.
fn upstreams(fault: &Fault) -> Code {
    match fault {
        Fault::Refused | Fault::Unreachable(_) => Code::UpstreamUnreachable,
        Fault::NameUnknown(_) => Code::UpstreamUnresolved,
        Fault::ConnectTimeout | Fault::NoAnswer => Code::UpstreamTimeout,
        other => code_of(other),
    }
}

/// The name of a fault.
pub fn code_of(fault: &Fault) -> Code {
    match fault {
        Fault::NameUnknown(_) => Code::NameUnknown,
        Fault::Refused => Code::NothingListens,
        Fault::Unreachable(_) => Code::Unreachable,
        Fault::ConnectTimeout => Code::ConnectTimeout,
        Fault::PlainBehindTls => Code::PlainBehindTls,
        Fault::TlsBehindPlain => Code::TlsBehindPlain,
        Fault::Certificate(Certificate::Expired, _) => Code::CertificateExpired,
        Fault::Certificate(Certificate::NotYetValid, _) => Code::CertificateNotYetValid,
        Fault::Certificate(Certificate::OtherName, _) => Code::CertificateOtherName,
        Fault::Certificate(Certificate::UnknownIssuer, _) => Code::CertificateUnknownIssuer,
        Fault::Certificate(Certificate::Bad, _) => Code::CertificateBad,
        Fault::Tls(_) => Code::TlsFailed,
        Fault::Http2Only => Code::Http2Only,
        Fault::NotHttp(_) => Code::NotHttp,
        Fault::ClosedBeforeAnswer => Code::ClosedBeforeAnswer,
        Fault::NoAnswer => Code::NoAnswer,
        Fault::HeadTooLarge => Code::HeadTooLarge,
        Fault::Answered(answer) => answered_code(answer),
        Fault::WrongAccept(_) => Code::WrongAcceptKey,
        Fault::BadSwitch(_) => Code::BadSwitch,
        Fault::Subprotocol(_) => Code::SubprotocolMismatch,
        Fault::Extension(_) => Code::UnaskedExtension,
        Fault::ClosedAtOnce => Code::ClosedAtOnce,
        Fault::ClosedBy(..) => Code::ClosedByService,
        Fault::BadFrames(_) => Code::BadFrames,
        Fault::NoPong => Code::NoPong,
        Fault::NoBody => Code::BodyWithheld,
        Fault::IdleCut(..) => Code::IdleCut,
        Fault::IdleDead => Code::IdleDead,
    }
}

/// The gateway's own word for it, or what the status stands for.
fn answered_code(answer: &Answer) -> Code {
    let own = answer.gateway.as_ref().and_then(|(error, _)| gateways_own(error));
    own.unwrap_or(match answer.head.status {
        101 => Code::BadSwitch,
        100..300 => Code::NotAWebSocket,
        300..400 => Code::Redirected,
        400 => Code::BadRequest,
        401 => Code::Unauthorized,
        403 => Code::Forbidden,
        404 => Code::NotFound,
        405 => Code::MethodNotAllowed,
        413 | 414 | 431 => Code::RequestTooLarge,
        426 => Code::UpgradeRequired,
        429 => Code::TooManyRequests,
        502 => Code::BadGateway,
        503 => Code::Unavailable,
        504 => Code::GatewayTimeout,
        0..500 => Code::RequestRefused,
        _ => Code::ServiceError,
    })
}

/// What was seen, in words.
pub fn seen(fault: &Fault) -> String {
    let code = |code: &Option<u16>| match code {
        Some(code) => format!("close code {code}"),
        None => "no close code".to_owned(),
    };
    match fault {
        Fault::NameUnknown(said) | Fault::Unreachable(said) | Fault::Tls(said) => said.clone(),
        Fault::Certificate(_, said) => said.clone(),
        Fault::Refused => "connection refused".to_owned(),
        Fault::ConnectTimeout => "no reply to the attempt to connect".to_owned(),
        Fault::PlainBehindTls => "plain HTTP is answered there, TLS is not".to_owned(),
        Fault::TlsBehindPlain => "TLS is answered there".to_owned(),
        Fault::Http2Only => "HTTP/2 is answered there".to_owned(),
        Fault::NotHttp(begin) => format!("it says {begin:?}"),
        Fault::ClosedBeforeAnswer => "the connection was closed instead of an answer".to_owned(),
        Fault::NoAnswer => "no answer".to_owned(),
        Fault::HeadTooLarge => "the head does not end".to_owned(),
        Fault::Answered(answer) => answered(answer),
        Fault::WrongAccept(Some(accept)) => format!("Sec-WebSocket-Accept: {accept}"),
        Fault::WrongAccept(None) => "no Sec-WebSocket-Accept".to_owned(),
        Fault::BadSwitch(field) => format!("{field} is missing"),
        Fault::Subprotocol(Some(chosen)) => format!("it chose {chosen:?}"),
        Fault::Subprotocol(None) => "it chose none".to_owned(),
        Fault::Extension(names) => format!("Sec-WebSocket-Extensions: {names}"),
        Fault::ClosedAtOnce => "101, then the end without a close frame".to_owned(),
        Fault::ClosedBy(number, reason) if reason.is_empty() => code(number),
        Fault::ClosedBy(number, reason) => format!("{}: {reason:?}", code(number)),
        Fault::BadFrames(what) => (*what).to_owned(),
        Fault::NoPong => "no pong".to_owned(),
        Fault::NoBody => "a head and no body".to_owned(),
        Fault::IdleCut(after, number) => {
            format!("ended after {:.1} s, {}", after.as_secs_f64(), code(number))
        }
        Fault::IdleDead => "no pong after the idle while".to_owned(),
    }
}

fn answered(answer: &Answer) -> String {
    let status = answer.head.status;
    if let Some((error, message)) = &answer.gateway {
        return format!("{status} {error}: {message}");
    }
    match (answer.head.get("location"), answer.excerpt.as_str()) {
        (Some(location), _) => format!("{status} to {}", shown(location)),
        (None, "") => format!("{status}"),
        (None, excerpt) => format!("{status}: {excerpt:?}"),
    }
}
