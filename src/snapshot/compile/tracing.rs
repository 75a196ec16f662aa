//! Compiles `tracing`, with OpenTelemetry's environment variables where the file has no value. Connects to no
//! collector.

use super::Compiler;
use crate::traces::{Collector, CollectorProtocol, Exporter, ParentSampling, Tracing};
use http::{HeaderName, HeaderValue, Uri};
use std::sync::Arc;
use std::time::Duration;
use tidegate_config::{self as config, OtlpProtocol, SampleParent, Span, TracingSetting};

/// Maximum time of an export, OpenTelemetry's default.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// The `service.name` of traces, unless the configuration or the environment has another.
const DEFAULT_SERVICE_NAME: &str = "tidegate";

impl Compiler<'_> {
    /// How requests are traced, if they are.
    pub(super) fn tracing(&mut self) -> Option<Tracing> {
        let defaults = config::Tracing::default();
        let written = match &self.config.tracing.value {
            TracingSetting::Switch(switch) if !switch.0 => return None,
            TracingSetting::Switch(_) => &defaults,
            TracingSetting::Settings(settings) => settings,
        };
        let environment = TracingEnvironment(&|name| std::env::var(name).ok());
        if environment.is_disabled() {
            return None;
        }
        for checked in [environment.exports(), environment.propagates()] {
            if let Err(reason) = checked {
                self.problems.add(Span::default(), "tracing", reason);
                return None;
            }
        }
        let collector = self.collector(&written.otlp, &environment)?;
        let ratio = written.sample.ratio.as_ref().map(|ratio| ratio.value);
        let parent = written.sample.parent.as_ref().map(|parent| match parent.value {
            SampleParent::Switch(switch) if switch.0 => ParentSampling::Decides,
            SampleParent::Switch(_) => ParentSampling::Ignored,
            SampleParent::Trusted => ParentSampling::DecidesIfTrusted,
        });
        let sampler = match ratio.zip(parent) {
            Some(sampler) => Ok(sampler),
            None => environment.sampler().map(|(told_ratio, told_parent)| {
                (ratio.unwrap_or(told_ratio), parent.unwrap_or(told_parent))
            }),
        };
        let (ratio, parent) = match sampler {
            Ok(sampler) => sampler,
            Err(reason) => {
                self.problems.add(Span::default(), "tracing.sample", reason);
                return None;
            }
        };
        let kept = self
            .env
            .previous
            .and_then(|previous| previous.global.tracing.as_ref())
            .map(|tracing| tracing.exporter())
            .filter(|exporter| *exporter.collector() == collector);
        let exporter = kept.map_or_else(|| Arc::new(Exporter::new(collector)), Arc::clone);
        let user_id = written.user_id.unwrap_or(config::defaults::tracing::USER_ID).0;
        Some(Tracing::new(ratio, parent, user_id, self.secret_names(), exporter))
    }

    fn collector(
        &mut self,
        written: &config::Otlp,
        environment: &TracingEnvironment<'_>,
    ) -> Option<Collector> {
        let protocol = match written.protocol {
            Some(OtlpProtocol::Http) => Ok(CollectorProtocol::Http),
            Some(OtlpProtocol::Grpc) => Ok(CollectorProtocol::Grpc),
            None => environment.protocol(),
        };
        let protocol = match protocol {
            Ok(protocol) => protocol,
            Err(reason) => {
                self.problems.add(Span::default(), "tracing.otlp.protocol", reason);
                return None;
            }
        };
        let (endpoint, variable) = match &written.endpoint {
            Some(written) => (endpoint_from_file(written, protocol), None),
            None => environment.endpoint(protocol),
        };
        if let Err(reason) = check(&endpoint) {
            let (span, key, value) = match (&written.endpoint, variable) {
                (None, Some((name, value))) => {
                    let value = format!("the environment variable {name} is `{value}`, which");
                    (Span::default(), "tracing", value)
                }
                (written, _) => {
                    let value = written.as_ref().map_or(&*endpoint, |written| &written.value);
                    let span = written.as_ref().map_or(Span::default(), |written| written.span);
                    (span, "tracing.otlp.endpoint", format!("`{value}`"))
                }
            };
            self.problems
                .add(span, key, format!("{value} is not the URL of a collector: {reason}"))
                .help("write a URL such as `http://127.0.0.1:4318`");
        }
        let mut headers = Vec::new();
        for (name, value) in &written.headers {
            let key_path = format!("tracing.otlp.headers.{}", name.as_str());
            let parsed = HeaderName::from_bytes(name.as_str().as_bytes());
            match (parsed, HeaderValue::try_from(value.as_str())) {
                (Ok(name), Ok(mut value)) => {
                    value.set_sensitive(true);
                    headers.push((name, value));
                }
                _ => drop(self.problems.add(value.span, key_path, "must be a valid header value")),
            }
        }
        let timeout = environment.timeout();
        Some(Collector { endpoint, protocol, headers, timeout, service: DEFAULT_SERVICE_NAME })
    }
}

/// A base URL gets the path that OpenTelemetry defines; a URL with a path is used unchanged.
fn endpoint_from_file(written: &str, protocol: CollectorProtocol) -> String {
    let has_path = written.parse::<Uri>().is_ok_and(|uri| !matches!(uri.path(), "" | "/"));
    match protocol {
        CollectorProtocol::Http if !has_path => with_path(written),
        _ => written.to_owned(),
    }
}

fn with_path(base: &str) -> String {
    format!("{}/v1/traces", base.trim_end_matches('/'))
}

fn check(endpoint: &str) -> Result<(), &'static str> {
    let uri: Uri = endpoint.parse().map_err(|_| "it is not a URL")?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(()),
        _ => Err("it must begin with http:// or https://, and have a host"),
    }
}

/// OpenTelemetry's variables. One that is empty is as one that is not there.
struct TracingEnvironment<'e>(&'e dyn Fn(&str) -> Option<String>);

impl TracingEnvironment<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        (self.0)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// The name and value of the variable of traces, or else of that of all signals.
    fn otlp_variable(&self, suffix: &str) -> Option<(String, String)> {
        ["OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"].iter().find_map(|prefix| {
            let name = format!("{prefix}{suffix}");
            self.variable(&name).map(|value| (name, value))
        })
    }

    fn is_disabled(&self) -> bool {
        self.variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || self.variable("OTEL_TRACES_EXPORTER").as_deref() == Some("none")
    }

    /// Several are asked for with commas between; OTLP is what there is.
    fn exports(&self) -> Result<(), String> {
        match self.variable("OTEL_TRACES_EXPORTER") {
            Some(wanted) if !wanted.split(',').any(|it| it.trim() == "otlp") => Err(format!(
                "the environment variable OTEL_TRACES_EXPORTER is `{wanted}`, but must be `otlp` \
                 or `none`"
            )),
            _ => Ok(()),
        }
    }

    /// What carries a trace from one to the next.
    fn propagates(&self) -> Result<(), String> {
        match self.variable("OTEL_PROPAGATORS") {
            Some(wanted) if !wanted.split(',').any(|it| it.trim() == "tracecontext") => {
                Err(format!(
                    "the environment variable OTEL_PROPAGATORS is `{wanted}`, but must contain \
                     `tracecontext`"
                ))
            }
            _ => Ok(()),
        }
    }

    fn protocol(&self) -> Result<CollectorProtocol, String> {
        match self.otlp_variable("PROTOCOL") {
            None => Ok(CollectorProtocol::Http),
            Some((_, value)) if value == "http/protobuf" => Ok(CollectorProtocol::Http),
            Some((_, value)) if value == "grpc" => Ok(CollectorProtocol::Grpc),
            Some((name, value)) => Err(format!(
                "the environment variable {name} is `{value}`, which the gateway does not support; \
                 set `protocol` to `http` or `grpc` here"
            )),
        }
    }

    /// The URL of the collector, and the name and value of the variable that sets it.
    fn endpoint(&self, protocol: CollectorProtocol) -> (String, Option<(String, String)>) {
        let Some((name, value)) = self.otlp_variable("ENDPOINT") else {
            let default = match protocol {
                CollectorProtocol::Http => with_path("http://localhost:4318"),
                CollectorProtocol::Grpc => "http://localhost:4317".to_owned(),
            };
            return (default, None);
        };
        let is_base = name == "OTEL_EXPORTER_OTLP_ENDPOINT";
        let endpoint = match protocol {
            CollectorProtocol::Http if is_base => with_path(&value),
            _ => value.clone(),
        };
        (endpoint, Some((name, value)))
    }

    fn timeout(&self) -> Duration {
        let written = self.otlp_variable("TIMEOUT").and_then(|(_, millis)| millis.parse().ok());
        written.map_or(EXPORT_TIMEOUT, Duration::from_millis)
    }

    fn sampler(&self) -> Result<(f64, ParentSampling), String> {
        let argument = self.variable("OTEL_TRACES_SAMPLER_ARG");
        let ratio = || match argument.as_deref().map(str::parse::<f64>) {
            None => Ok(1.0),
            Some(Ok(ratio)) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
            Some(_) => {
                Err("the environment variable OTEL_TRACES_SAMPLER_ARG must be a number from 0 to 1"
                    .to_owned())
            }
        };
        let sampler = self.variable("OTEL_TRACES_SAMPLER");
        Ok(match sampler.as_deref() {
            None | Some("parentbased_always_on") => (1.0, ParentSampling::Decides),
            Some("parentbased_always_off") => (0.0, ParentSampling::Decides),
            Some("parentbased_traceidratio") => (ratio()?, ParentSampling::Decides),
            Some("always_on") => (1.0, ParentSampling::Ignored),
            Some("always_off") => (0.0, ParentSampling::Ignored),
            Some("traceidratio") => (ratio()?, ParentSampling::Ignored),
            Some(other) => {
                return Err(format!(
                    "the environment variable OTEL_TRACES_SAMPLER is `{other}`, which the \
                     gateway does not support"
                ));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(variables: &[(&str, &str)], ask: impl Fn(&TracingEnvironment<'_>) -> T) -> T {
        let get = |name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        ask(&TracingEnvironment(&get))
    }

    #[test]
    fn default_in_the_reference_names_the_collectors() {
        let schema = tidegate_config::json_schema();
        let words = &schema["$defs"]["Otlp"]["properties"]["endpoint"]["x-default"];
        let words = words.as_str().expect("words");
        for protocol in [CollectorProtocol::Http, CollectorProtocol::Grpc] {
            let endpoint = with(&[], |it| it.endpoint(protocol).0);
            let base = endpoint.trim_end_matches("/v1/traces");
            assert!(words.contains(base), "{base}: {words}");
        }
    }

    #[test]
    fn traces_path_is_added_to_a_base_url() {
        for (written, expected) in [
            ("http://c:4318", "http://c:4318/v1/traces"),
            ("http://c:4318/", "http://c:4318/v1/traces"),
            ("http://c:4318/otlp/v1/traces", "http://c:4318/otlp/v1/traces"),
        ] {
            assert_eq!(endpoint_from_file(written, CollectorProtocol::Http), expected);
        }
        assert_eq!(endpoint_from_file("http://c:4317", CollectorProtocol::Grpc), "http://c:4317");
        assert!(check("http://c:4318/v1/traces").is_ok() && check("https://[::1]:4318").is_ok());
        for wrong in ["c:4318", "ftp://c", "/v1/traces", "http://", ""] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn traces_variable_overrides_the_general_variable() {
        let both = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4318/base/"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4318/as/is"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
        ];
        with(&both, |it| {
            assert_eq!(it.endpoint(CollectorProtocol::Http).0, "http://traces:4318/as/is");
            assert_eq!(it.protocol(), Ok(CollectorProtocol::Grpc));
            assert_eq!(it.timeout(), Duration::from_millis(1500));
        });
        with(&both[..1], |it| {
            assert_eq!(it.endpoint(CollectorProtocol::Http).0, "http://all:4318/base/v1/traces");
            assert_eq!(it.endpoint(CollectorProtocol::Grpc).0, "http://all:4318/base/");
        });
        with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")], |it| {
            assert_eq!(it.endpoint(CollectorProtocol::Http).0, "http://localhost:4318/v1/traces");
            assert_eq!(it.protocol(), Ok(CollectorProtocol::Http));
        });
        for name in ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] {
            with(&[(name, "http/json")], |it| {
                let reason = it.protocol().expect_err("unsupported");
                assert!(reason.contains(&format!("variable {name} is `http/json`")), "{reason}");
            });
        }
    }

    #[test]
    fn opentelemetry_sampler_names_are_accepted() {
        for (sampler, argument, expected) in [
            ("", "0.5", Ok((1.0, ParentSampling::Decides))),
            ("parentbased_always_off", "", Ok((0.0, ParentSampling::Decides))),
            ("parentbased_traceidratio", "0.25", Ok((0.25, ParentSampling::Decides))),
            ("traceidratio", "", Ok((1.0, ParentSampling::Ignored))),
            ("always_off", "x", Ok((0.0, ParentSampling::Ignored))),
            ("always_on", "", Ok((1.0, ParentSampling::Ignored))),
        ] {
            let variables =
                [("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", argument)];
            assert_eq!(with(&variables, |it| it.sampler()), expected, "{sampler}");
        }
        for (sampler, argument) in [("jaeger_remote", ""), ("traceidratio", "2")] {
            let variables =
                [("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", argument)];
            assert!(with(&variables, |it| it.sampler()).is_err(), "{sampler}");
        }
    }

    #[test]
    fn otel_sdk_disabled_turns_tracing_off() {
        assert!(with(&[("OTEL_SDK_DISABLED", "TRUE")], |it| it.is_disabled()));
        assert!(!with(&[("OTEL_SDK_DISABLED", "1")], |it| it.is_disabled()));
        assert!(with(&[("OTEL_TRACES_EXPORTER", "none")], |it| it.is_disabled()));
    }

    #[test]
    fn unsupported_exporter_or_propagator_is_refused() {
        for (name, sound, unsound) in [
            ("OTEL_TRACES_EXPORTER", ["", "otlp", "console, otlp"], "zipkin"),
            ("OTEL_PROPAGATORS", ["", "tracecontext,baggage", "b3, tracecontext"], "b3"),
        ] {
            let checked = |value| with(&[(name, value)], |it| it.exports().and(it.propagates()));
            assert!(sound.iter().all(|value| checked(value).is_ok()), "{name}");
            assert!(checked(unsound).is_err_and(|reason| reason.contains(unsound)), "{name}");
        }
    }
}
