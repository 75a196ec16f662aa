//! Writes metrics in Prometheus' text format or in OpenMetrics'. Knows no metric.

use crate::histogram::{BOUNDS, Exemplar, Histogram};
use std::fmt::{Display, Write as _};
use std::time::SystemTime;

/// The type of a metric family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MetricKind {
    Counter,
    Gauge,
    Histogram,
    Summary,
}

/// Families of samples, in Prometheus' text format or in OpenMetrics'.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
    is_open_metrics: bool,
}

/// One family, whose samples are being written.
pub(super) struct MetricFamily<'e> {
    exposition: &'e mut Exposition,
    name: &'static str,
    suffix: &'static str,
}

type Labels<'l> = &'l [(&'l str, &'l str)];

impl Exposition {
    /// The format that the client asks for.
    pub(super) fn for_accept_header(accept: &str) -> Self {
        let is_open_metrics = accept.contains("application/openmetrics-text");
        Self { is_open_metrics, ..Self::default() }
    }

    /// The media type of the response.
    pub(super) fn media_type(&self) -> &'static str {
        match self.is_open_metrics {
            true => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            false => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Begins a family. The name of a counter is without its `_total`.
    pub(super) fn family(
        &mut self,
        name: &'static str,
        kind: MetricKind,
        help: &str,
    ) -> MetricFamily<'_> {
        let suffix = if kind == MetricKind::Counter { "_total" } else { "" };
        let name_suffix = if self.is_open_metrics { "" } else { suffix };
        let kind = match kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
            MetricKind::Summary => "summary",
        };
        // Writing into a string can't fail, here and below.
        let _ = writeln!(self.text, "# HELP {name}{name_suffix} {help}");
        let _ = writeln!(self.text, "# TYPE {name}{name_suffix} {kind}");
        MetricFamily { exposition: self, name, suffix }
    }

    /// The complete text.
    pub(super) fn finish(mut self) -> String {
        if self.is_open_metrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

impl MetricFamily<'_> {
    /// Writes a sample.
    pub(super) fn write_sample(&mut self, labels: Labels<'_>, value: impl Display) {
        self.write(self.suffix, labels, None, &value);
    }

    /// Writes the count and the sum of a summary.
    pub(super) fn write_summary(&mut self, labels: Labels<'_>, count: u64, seconds: f64) {
        self.write("_sum", labels, None, &seconds);
        self.write("_count", labels, None, &count);
    }

    /// Writes all buckets of a histogram, with count and sum.
    pub(super) fn write_histogram(&mut self, labels: Labels<'_>, histogram: &Histogram) {
        let counts = histogram.cumulative();
        for (index, count) in counts.iter().enumerate() {
            let bound = BOUNDS.get(index).map_or("+Inf".to_owned(), |bound| format!("{bound:?}"));
            let exemplar = histogram.exemplar(index).filter(|_| self.exposition.is_open_metrics);
            match exemplar {
                Some(exemplar) => {
                    let value = format!("{count}{}", exemplar_text(&exemplar));
                    self.write("_bucket", labels, Some(&bound), &value);
                }
                None => self.write("_bucket", labels, Some(&bound), count),
            }
        }
        let all = counts.last().copied().unwrap_or_default();
        self.write_summary(labels, all, histogram.seconds());
    }

    fn write(&mut self, suffix: &str, labels: Labels<'_>, le: Option<&str>, value: &dyn Display) {
        let text = &mut self.exposition.text;
        let _ = write!(text, "{}{suffix}", self.name);
        let le = le.map(|bound| ("le", bound));
        let mut separator = '{';
        for (name, value) in labels.iter().copied().chain(le) {
            let _ = write!(text, "{separator}{name}=\"{}\"", escape_label(value));
            separator = ',';
        }
        let end = if separator == ',' { "}" } else { "" };
        let _ = writeln!(text, "{end} {value}");
    }
}

/// An exemplar as OpenMetrics writes it after a sample.
fn exemplar_text(exemplar: &Exemplar) -> String {
    let trace_id = u128::from_be_bytes(exemplar.trace_id);
    let time = exemplar.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (took, time) = (exemplar.took.as_secs_f64(), time.as_secs_f64());
    format!(" # {{trace_id=\"{trace_id:032x}\"}} {took} {time:.3}")
}

/// A label's value, escaped for use between quotation marks.
fn escape_label(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
