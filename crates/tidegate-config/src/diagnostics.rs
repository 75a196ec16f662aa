//! The problems of a configuration: position, reason, help, and their output for people and editors. Finds none itself.

use super::BrokenParts;
use super::source::Sources;
use super::values::Span;
use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use tidegate_http::control::is_control;
use tidegate_http::redact::redact;
use tidegate_http::secret::{is_nearly_secret, is_secret, without_url_secrets};

/// Maximum number of problems that are shown: a hostile file could have a hundred thousand.
const MAX_SHOWN_PROBLEMS: usize = 200;

/// What is wrong with text that can't be parsed, before the reason.
pub(super) const NOT_YAML: &str = "invalid YAML";

/// What is wrong with a key that no mapping of its kind has.
pub(super) const UNKNOWN_KEY: &str = "unknown key";

/// One error or warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    span: Span,
    /// The name of the warning; `None` for an error.
    warning: Option<&'static str>,
    path: String,
    reason: String,
    help: Option<String>,
    /// It was found while the configuration was read, before its parts were put together.
    is_of_reading: bool,
}

impl Problem {
    /// Adds advice on what to do.
    pub fn help(&mut self, help: impl Into<String>) {
        self.help = Some(help.into());
    }

    /// The line, from 1; 0 for the file as a whole.
    pub fn line(&self) -> u32 {
        self.span.line
    }

    /// The column in characters, from 1.
    pub fn column(&self) -> u32 {
        self.span.column
    }

    /// The path of the key, such as `routes[3].match.path_prefix`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The name in docs/warnings.md, if this is a warning.
    pub fn warning(&self) -> Option<&'static str> {
        self.warning
    }

    /// Whether the problem is an unknown key.
    pub fn is_unknown_key(&self) -> bool {
        self.reason == UNKNOWN_KEY
    }

    /// Whether a file was left out, or a section of one, which may have declared upstreams.
    pub fn may_hide_upstreams(&self) -> bool {
        self.is_of_reading
            && match self.path.as_str() {
                "" => self.reason.starts_with(NOT_YAML),
                path => matches!(path, "include" | "upstreams"),
            }
    }

    /// The reason.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// All problems of a configuration.
#[derive(Clone, Default)]
pub struct Problems {
    problems: Vec<Problem>,
    sources: Box<Sources>,
}

impl Problems {
    fn insert(&mut self, problem: Problem) -> &mut Problem {
        let span = problem.span;
        let at = self.problems.partition_point(|other| other.span <= span);
        self.problems.insert(at, problem);
        // `insert` has just put it there.
        #[expect(clippy::indexing_slicing)]
        &mut self.problems[at]
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// These and those of the same configuration.
    #[must_use]
    pub fn merged_with(mut self, others: Self) -> Self {
        for mut problem in others.problems {
            // Files that were added have their own numbers in both.
            if let Some((path, _)) = others.sources.files.get(usize::from(problem.span.file)) {
                problem.span.file = self.file_number(path).unwrap_or(problem.span.file);
            }
            self.insert(problem);
        }
        self
    }

    /// The number of a file, which is added if it is none of these; `None` if there are too many.
    fn file_number(&mut self, path: &Path) -> Option<u16> {
        let known = self.sources.files.iter().position(|(known, _)| known == path);
        let number = u16::try_from(known.unwrap_or(self.sources.files.len())).ok()?;
        if known.is_none() {
            self.sources.files.push((path.to_owned(), String::new()));
        }
        Some(number)
    }

    /// Each of them, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter()
    }
}

/// Gathers the problems of a configuration while it is read, compiled and reviewed.
#[derive(Debug, Default)]
pub struct ProblemCollector(Problems);

impl ProblemCollector {
    /// No problems yet, in these files.
    pub fn new(sources: Sources) -> Self {
        Self(Problems { problems: Vec::new(), sources: Box::new(sources) })
    }

    /// The problems that were found while the configuration was read, to which those of its parts together are added.
    pub fn after_reading(mut problems: Problems) -> Self {
        problems.problems.iter_mut().for_each(|problem| problem.is_of_reading = true);
        Self(problems)
    }

    /// Adds an error at the position of the key that causes it; `path` is the key in dots.
    pub fn add(
        &mut self,
        span: Span,
        path: impl Into<String>,
        reason: impl Into<String>,
    ) -> &mut Problem {
        let (path, reason) = (path.into(), reason.into());
        let warning = None;
        self.0.insert(Problem { span, warning, path, reason, help: None, is_of_reading: false })
    }

    /// Something that is no error, and not wise.
    pub fn warn(
        &mut self,
        code: &'static str,
        span: Span,
        path: impl Into<String>,
        reason: impl Into<String>,
    ) -> &mut Problem {
        let (path, reason) = (path.into(), reason.into());
        let warning = Some(code);
        self.0.insert(Problem { span, warning, path, reason, help: None, is_of_reading: false })
    }

    /// Registers a file that the configuration names, so that problems can have positions in it, and returns its number;
    /// `None` if there are too many. Messages do not show its lines: they may be secret.
    pub fn register_file(&mut self, path: &Path) -> Option<u16> {
        self.0.file_number(path)
    }

    /// Leaves out what is only missed because something else is broken.
    pub fn remove_follow_up_problems(&mut self, broken: &BrokenParts) {
        // What a route as a whole lacks is told with an eye to what was misspelt.
        let is_route = |path: &str| path.starts_with("routes[") && !path.contains('.');
        self.0.problems.retain(|problem| {
            let Problem { path, is_of_reading, .. } = problem;
            *is_of_reading || is_route(path) || !broken.is_any_within(path)
        });
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// All that were found.
    pub fn into_problems(self) -> Problems {
        self.0
    }
}

/// Prints what `Display` prints: the rest of the configuration may be secret.
impl fmt::Debug for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self.problems.iter().take(MAX_SHOWN_PROBLEMS) {
            let Problem { span, warning, path, reason, help, .. } = problem;
            let (name, text) = self.sources.file(span.file);
            let is_linked = self.sources.is_linked(span.file);
            write!(f, "{name}:{}:{}: ", span.line.max(1), span.column.max(1))?;
            match warning {
                None => f.write_str("error: ")?,
                Some(code) => write!(f, "warning[{code}]: ")?,
            }
            let values = self.sources.expanded();
            let reason = if is_linked { without_quotations(reason, text) } else { reason.into() };
            let reason = values.hide(&without_quoted_secrets(&reason));
            match path.as_str() {
                "" => writeln!(f, "{reason}")?,
                // A key that should have been two, `token:abc`, holds a secret.
                path => writeln!(f, "{}: {reason}", values.hide(&redact(path, may_be_secret)))?,
            }
            let number = (span.line as usize).checked_sub(1);
            let line = number.and_then(|number| Some((number, text.lines().nth(number)?)));
            if let Some((number, line)) = line
                && !is_linked
                && !may_hold_secret(text, number)
            {
                excerpt(f, span, line)?;
            }
            if let Some(help) = help {
                writeln!(f, "      help: {}", values.hide(&without_quoted_secrets(help)))?;
            }
        }
        let count = self.problems.len();
        if count > MAX_SHOWN_PROBLEMS {
            writeln!(f, "and {} more", count - MAX_SHOWN_PROBLEMS)?;
        }
        let plural = if count == 1 { "" } else { "s" };
        let is_wrong = self.problems.iter().any(|problem| problem.warning.is_none());
        let what = if is_wrong { "problem" } else { "warning" };
        write!(f, "{count} {what}{plural} in {}", self.sources.file(0).0)
    }
}

fn may_be_secret(name: &str) -> bool {
    is_secret(name) || is_nearly_secret(name)
}

/// Whether a line may hold a secret: logs and the admin endpoint repeat what is wrong with an edit. It
/// does by a key on it, one that is misspelt too, and when it belongs to a key above it.
fn may_hold_secret(text: &str, number: usize) -> bool {
    /// How many lines above are looked at, and how long a line may be: nobody writes more by hand, and
    /// what is hostile has many problems.
    const MAX_LINES_ABOVE: usize = 50;
    const MAX_LINE_BYTES: usize = 1000;
    let first = number.saturating_sub(MAX_LINES_ABOVE);
    let lines: Vec<&str> = text.lines().skip(first).take(number + 1 - first).collect();
    if lines.iter().any(|line| line.len() > MAX_LINE_BYTES) {
        return true;
    }
    let indent = |line: &str| line.len() - line.trim_start().len();
    let Some(line) = lines.last() else { return false };
    // What is said of a secret in a comment may be the secret.
    let has_secret_comment = line.split_once('#').is_some_and(|(_, comment)| {
        comment.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).any(may_be_secret)
    });
    if has_secret_comment
        || has_secret_key(line)
        || line.contains('@')
        || line.contains("-----BEGIN")
    {
        return true;
    }
    let mut outer = indent(line);
    let mut is_nearest = true;
    for above in lines.iter().rev().skip(1).filter(|line| !line.trim().is_empty()) {
        // A value may begin below its key without being indented, in a list or between braces.
        let is_open = is_nearest && above.trim_end().ends_with([':', '|', '>', '{', '[', ',']);
        if (indent(above) < outer || is_open) && has_secret_key(above) {
            return true;
        }
        outer = outer.min(indent(above));
        is_nearest = false;
        if outer == 0 {
            break;
        }
    }
    false
}

fn has_secret_key(line: &str) -> bool {
    let mut found = false;
    let _ = redact(line, |name| {
        found |= may_be_secret(name);
        false
    });
    found
}

/// Without the passwords of URLs and the values of secret parameters that are quoted.
fn without_quoted_secrets(reason: &str) -> String {
    let parts = reason.split('`').enumerate();
    let parts = parts.map(|(index, part)| match index % 2 {
        1 => without_url_secrets(part),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("`")
}

/// Without what is quoted of the file: one that is linked may be of a user who could read it, and is
/// read by the gateway alone.
fn without_quotations<'r>(reason: &'r str, text: &str) -> Cow<'r, str> {
    if !reason.contains('`') {
        return reason.into();
    }
    let parts = reason.split('`').enumerate().map(|(index, part)| {
        let is_quoted = index % 2 == 1 && text.contains(part.trim_end_matches('…'));
        if is_quoted { "…" } else { part }
    });
    parts.collect::<Vec<_>>().join("`").into()
}

/// The line with a caret under the column; of a very long line what is around it.
fn excerpt(f: &mut fmt::Formatter<'_>, span: &Span, line: &str) -> fmt::Result {
    const SNIPPET_WIDTH: usize = 120;
    let column = (span.column as usize).saturating_sub(1);
    let skipped = column.saturating_sub(SNIPPET_WIDTH / 2);
    let visible: String = line
        .chars()
        .skip(skipped)
        .take(SNIPPET_WIDTH)
        .map(|c| if is_control(c) { ' ' } else { c })
        .collect();
    writeln!(f, "{:>5} | {}", span.line, visible.trim_end())?;
    writeln!(f, "      | {:>1$}", "^", column - skipped + 1)
}

impl std::error::Error for Problems {}

/// The nearest of the right spellings, when one is near.
pub fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let near = |candidate: &&str| {
        let distance = strsim::damerau_levenshtein(word, candidate);
        distance <= 1 + candidate.chars().count() / 4
            || (word.len() > 3 && (candidate.starts_with(word) || word.starts_with(*candidate)))
    };
    // Hostile words may be long, and the distance costs their product.
    if word.len() > 100 {
        return None;
    }
    candidates
        .into_iter()
        .filter(near)
        .min_by_key(|candidate| strsim::damerau_levenshtein(word, candidate))
}
