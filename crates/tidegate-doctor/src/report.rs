use super::diagnosis::Diagnosis;
use super::fault::Step;
use serde_json::{Value, json};
use std::fmt;
use std::time::Duration;

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Went {
    /// Well.
    Ok,
    /// Wrong.
    Failed,
    /// Not at all.
    Skipped,
}

/// One line of the report.
#[derive(Debug, Clone)]
pub struct Line {
    /// Which step.
    pub step: Step,
    /// How it went.
    pub went: Went,
    /// How long it took.
    pub took: Option<Duration>,
    /// What there is to say.
    pub says: String,
}

/// What an examination found.
#[derive(Debug, Clone)]
pub struct Report {
    /// The URL, without secrets.
    pub url: String,
    /// Route and upstream by the configuration: name, line, upstream.
    pub route: Option<(String, String, String)>,
    /// Step by step.
    pub lines: Vec<Line>,
    /// What is wrong, if anything is.
    pub diagnosis: Option<Diagnosis>,
}

impl Report {
    /// Whether all is well.
    pub fn is_healthy(&self) -> bool {
        self.diagnosis.is_none()
    }

    /// For programs; the keys are stable.
    pub fn json(&self) -> Value {
        let steps: Vec<Value> = self
            .lines
            .iter()
            .map(|line| {
                json!({
                    "step": line.step.name(),
                    "outcome": line.went.name(),
                    "duration_ms": line.took.map(|took| took.as_secs_f64() * 1000.0),
                    "says": line.says,
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

impl Went {
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
        for line in &self.lines {
            let took = line.took.map(|took| format!("{:.1} ms", took.as_secs_f64() * 1000.0));
            let (went, step) = (line.went.name(), line.step.name());
            let took = took.unwrap_or_default();
            let text = format!("  {went:<8}{step:<10}{took:>11}  {}", line.says);
            writeln!(f, "{}", text.trim_end())?;
        }
        writeln!(f)?;
        let Some(found) = &self.diagnosis else { return writeln!(f, "All is well.") };
        let who = match found.blame {
            super::Blame::Address => "what answers at this address",
            super::Blame::Gateway => "the gateway or its configuration",
            super::Blame::Between => "something between here and the upstream",
            super::Blame::Upstream => "the upstream",
        };
        writeln!(f, "{}: {}", found.code.name(), found.code.what())?;
        writeln!(f, "  seen    {}", found.seen)?;
        writeln!(f, "  who     {who}")?;
        writeln!(f, "  why     {}", found.code.cause())?;
        writeln!(f, "  change  {}", found.code.advice())?;
        match &found.line {
            Some(line) => writeln!(f, "  where   {line}"),
            None => Ok(()),
        }
    }
}
