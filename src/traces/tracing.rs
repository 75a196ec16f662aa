//! Which requests are recorded, and what their spans must not contain. Knows nothing of collectors.

use super::Exporter;
use opentelemetry::TraceId;
use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::trace::{
    IdGenerator, RandomIdGenerator, Sampler, SamplingDecision, ShouldSample,
};
use std::borrow::Cow;
use std::sync::Arc;
use tidegate_http::query;
use tidegate_http::secret::SecretNames;
use tidegate_http::trace_context::TraceParent;

/// How it is decided whether a request that already has a trace is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParentSampling {
    /// The sender's.
    Decides,
    /// The sender's, if it is a trusted proxy.
    DecidesIfTrusted,
    /// Ours.
    Ignored,
}

/// How requests are traced.
#[derive(Debug)]
pub(crate) struct Tracing {
    sampler: Sampler,
    parent: ParentSampling,
    /// Whether spans name the user.
    pub user_id: bool,
    /// Names whose values are never written.
    secrets: SecretNames,
    exporter: Arc<Exporter>,
}

impl Tracing {
    /// Records this part of the traces that begin here.
    pub(crate) fn new(
        ratio: f64,
        parent: ParentSampling,
        user_id: bool,
        secrets: SecretNames,
        exporter: Arc<Exporter>,
    ) -> Self {
        Self { sampler: Sampler::TraceIdRatioBased(ratio), parent, user_id, secrets, exporter }
    }

    /// The position of a request in the trace that its client sent, or in a new trace.
    pub(crate) fn join_or_start(
        &self,
        parent: Option<&TraceParent>,
        is_trusted: bool,
    ) -> TraceParent {
        let ids = RandomIdGenerator::default();
        let new_trace = || ids.new_trace_id().to_bytes();
        let trace_id = parent.map_or_else(new_trace, |parent| parent.trace_id);
        let is_sampled = match (parent, self.parent) {
            (Some(parent), ParentSampling::Decides) => parent.is_sampled,
            (Some(parent), ParentSampling::DecidesIfTrusted) if is_trusted => parent.is_sampled,
            _ => self.samples(trace_id),
        };
        TraceParent { trace_id, span_id: ids.new_span_id().to_bytes(), is_sampled }
    }

    /// By the trace's id, so that all who have the same ratio decide the same.
    fn samples(&self, trace_id: [u8; 16]) -> bool {
        let trace_id = TraceId::from_bytes(trace_id);
        let result = self.sampler.should_sample(None, trace_id, "", &SpanKind::Server, &[], &[]);
        result.decision == SamplingDecision::RecordAndSample
    }

    /// Where the spans go.
    pub(crate) fn exporter(&self) -> &Arc<Exporter> {
        &self.exporter
    }

    /// The query, without its secrets.
    pub(crate) fn redacted_query<'q>(&self, query: &'q str) -> Cow<'q, str> {
        query::redact(query, |key| self.secrets.contains(key))
    }

    /// The path, without the secrets in its parameters.
    pub(crate) fn redacted_path<'p>(&self, path: &'p str) -> Cow<'p, str> {
        query::redact_path(path, |key| self.secrets.contains(key))
    }
}

/// The name of another span.
pub(crate) fn new_span_id() -> [u8; 8] {
    RandomIdGenerator::default().new_span_id().to_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracing(ratio: f64, parent: ParentSampling) -> Tracing {
        Tracing::new(ratio, parent, false, SecretNames::default(), Arc::new(Exporter::example()))
    }

    fn parent(is_sampled: bool) -> TraceParent {
        TraceParent { trace_id: [7; 16], span_id: [8; 8], is_sampled }
    }

    #[test]
    fn trace_continues_its_parent_or_is_new() {
        let tracing = tracing(1.0, ParentSampling::Decides);
        let joined = tracing.join_or_start(Some(&parent(true)), false);
        assert_eq!(joined.trace_id, [7; 16]);
        assert_ne!(joined.span_id, [8; 8]);
        let (one, other) = (tracing.join_or_start(None, false), tracing.join_or_start(None, false));
        assert_ne!(one.trace_id, other.trace_id);
        assert!(one.is_sampled && one.trace_id != [0; 16]);
    }

    #[test]
    fn parent_decides_sampling_only_where_allowed() {
        for (setting, is_trusted, decides) in [
            (ParentSampling::Decides, false, true),
            (ParentSampling::DecidesIfTrusted, false, false),
            (ParentSampling::DecidesIfTrusted, true, true),
            (ParentSampling::Ignored, true, false),
        ] {
            for ratio in [0.0, 1.0] {
                let tracing = tracing(ratio, setting);
                for sampled in [true, false] {
                    let expected = if decides { sampled } else { ratio == 1.0 };
                    let joined = tracing.join_or_start(Some(&parent(sampled)), is_trusted);
                    assert_eq!(joined.is_sampled, expected, "{setting:?} {ratio} {sampled}");
                }
            }
        }
    }

    #[test]
    fn sampling_ratio_is_kept() {
        let tracing = tracing(0.25, ParentSampling::Decides);
        let taken = (0..10_000).filter(|_| tracing.join_or_start(None, false).is_sampled).count();
        assert!((2_000..3_000).contains(&taken), "{taken}");
    }

    #[test]
    fn secrets_in_the_query_of_a_span_are_redacted() {
        let tracing = tracing(1.0, ParentSampling::Decides);
        assert_eq!(tracing.redacted_query("a=1&token=x"), "a=1&token=REDACTED");
    }
}
