//! The report of an examination, as text and as JSON. It does not know how the findings were made.

use super::diagnosis::Diagnosis;
use super::fault::Step;
use serde_json::{Value, json};
use std::fmt;
use std::time::Duration;

/// The outcome of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The step succeeded.
    Ok,
    /// The step failed.
    Failed,
    /// The step was not taken.
    Skipped,
}

/// One step in the report.
#[derive(Debug, Clone)]
pub struct StepReport {
    /// The step.
    pub step: Step,
    /// Its outcome.
    pub outcome: Outcome,
    /// Its duration.
    pub took: Option<Duration>,
    /// Details for people.
    pub detail: String,
}

/// The findings of an examination.
#[derive(Debug, Clone)]
pub struct Report {
    /// The URL, without secrets.
    pub url: String,
    /// The route by the configuration: its name, its line, and its upstream.
    pub route: Option<(String, String, String)>,
    /// The steps, in order.
    pub steps: Vec<StepReport>,
    /// The diagnosis, unless all is well.
    pub diagnosis: Option<Diagnosis>,
}

impl Report {
    /// Whether no fault was found.
    pub fn is_healthy(&self) -> bool {
        self.diagnosis.is_none()
    }

    /// The report as JSON; the keys are stable.
    pub fn json(&self) -> Value {
        let steps: Vec<Value> = self
            .steps
            .iter()
            .map(|line| {
                json!({
                    "step": line.step.name(),
                    "outcome": line.outcome.name(),
                    "duration_ms": line.took.map(|took| took.as_secs_f64() * 1000.0),
                    "says": line.detail,
                })
            })
            .collect();
        let route = self.route.as_ref();
        json!({
            "url": self.url,
            "healthy": self.is_healthy(),
            "route": route.map(|(name, _, _)| name),
            "upstream": route.map(|(_, _, upstream)| upstream),
            "steps": steps,
            "diagnosis": self.diagnosis.as_ref().map(|found| json!({
                "code": found.code.name(),
                "blame": found.blame.name(),
                "what": found.code.what(),
                "seen": found.seen,
                "cause": found.code.cause(),
                "advice": found.code.advice(),
                "line": found.line,
            })),
        })
    }
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.url)?;
        if let Some((route, line, upstream)) = &self.route {
            writeln!(f, "route `{route}` ({line}), upstream `{upstream}`")?;
        }
        writeln!(f)?;
        for line in &self.steps {
            let took = line.took.map(|took| format!("{:.1} ms", took.as_secs_f64() * 1000.0));
            let (outcome, step) = (line.outcome.name(), line.step.name());
            let took = took.unwrap_or_default();
            let text = format!("  {outcome:<8}{step:<10}{took:>11}  {}", line.detail);
            writeln!(f, "{}", text.trim_end())?;
        }
        writeln!(f)?;
        let Some(found) = &self.diagnosis else { return writeln!(f, "No problems found.") };
        let who = match found.blame {
            super::Culprit::Address => "the server at this address",
            super::Culprit::Gateway => "the gateway or its configuration",
            super::Culprit::Between => "a proxy between this machine and the upstream",
            super::Culprit::Upstream => "the upstream",
        };
        writeln!(f, "{}: {}", found.code.name(), found.code.what())?;
        writeln!(f, "  seen    {}", found.seen)?;
        writeln!(f, "  fault   {who}")?;
        writeln!(f, "  why     {}", found.code.cause())?;
        writeln!(f, "  change  {}", found.code.advice())?;
        match &found.line {
            Some(line) => writeln!(f, "  where   {line}"),
            None => Ok(()),
        }
    }
}
