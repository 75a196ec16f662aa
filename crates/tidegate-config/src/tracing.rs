//! The section `tracing`, as written. It exports nothing.

use super::union::short_or_long;
use super::{HeaderName, Spanned, Switch};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// `on`, `off`, or how requests are traced.
#[derive(Debug, Clone)]
pub enum TracingSetting {
    /// `on` traces as the environment says, `off` passes `traceparent` on as it came.
    Switch(Switch),
    /// How requests are traced.
    Settings(Tracing),
}

impl Default for TracingSetting {
    fn default() -> Self {
        Self::Switch(Switch(false))
    }
}

/// Traces through OpenTelemetry. Each request joins the trace in its `traceparent` (W3C Trace
/// Context), or begins a new one; the upstream gets a `traceparent` too. The variables of
/// OpenTelemetry (`OTEL_*`) set what the file leaves open.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tracing {
    /// The collector that gets the spans.
    pub otlp: Otlp,
    /// Which requests are recorded.
    pub sample: Sample,
    /// Whether spans name the user, as `user.id`; it comes from the client, unverified.
    pub user_id: Option<Switch>,
}

/// A collector that speaks OTLP.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Otlp {
    /// URL, `http://` or `https://`. For `protocol: http` without a path, `/v1/traces` is added.
    pub endpoint: Option<Spanned<String>>,
    /// `http` (protobuf) or `grpc`.
    pub protocol: Option<OtlpProtocol>,
    /// Headers of the requests to it, in addition to those of `OTEL_EXPORTER_OTLP_HEADERS`; if both
    /// set a header, this value is used.
    #[schemars(extend("propertyNames" = {"format": "header-name"}))]
    pub headers: BTreeMap<HeaderName, Spanned<String>>,
}

/// The transport of OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OtlpProtocol {
    /// HTTP, in protobuf.
    Http,
    /// gRPC.
    Grpc,
}

/// Which requests are recorded.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sample {
    /// Recorded part of the traces that begin here, from `0` to `1`.
    #[schemars(range(min = 0, max = 1))]
    pub ratio: Option<Spanned<f64>>,
    /// Whether a request that arrives with a trace is recorded if its sender records it: `on`,
    /// `off` (the ratio decides), or `trusted` (`on` for `trusted_proxies`, `off` for others).
    pub parent: Option<Spanned<SampleParent>>,
}

/// Whose decision it is that a request with a trace is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleParent {
    /// The sender's, or ours.
    Switch(Switch),
    /// The sender's, if it is a trusted proxy.
    Trusted,
}

impl<'de> Deserialize<'de> for SampleParent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Cow::<'de, str>::deserialize(deserializer)?;
        match &*written {
            "trusted" => Ok(Self::Trusted),
            other => other.parse().map(Self::Switch).map_err(de::Error::custom),
        }
    }
}

impl JsonSchema for SampleParent {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "SampleParent".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [generator.subschema_for::<Switch>(), {"const": "trusted"}]})
    }
}

short_or_long!(TracingSetting: Switch(Switch) | Settings(Tracing));
