//! The filters that a program adds: those that see every request, and those that the configuration uses by name. Knows
//! names, types of settings and factories; not routes, and not the order of filters on them.

use super::Filter;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use tidegate_config::{FilterSchemas, FilterUse, Span};

/// Why a filter refuses its settings; `check` and `run` report it with its position in the file.
///
/// A factory that was given to [`Gateway::register`](crate::Gateway::register) returns it.
///
/// ```
/// use tidegate::filter::SettingsError;
///
/// let error = SettingsError::at("keys[0].id", "the id is taken").help("give each key an id of its own");
/// assert_eq!(error.to_string(), "keys[0].id: the id is taken");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    path: String,
    reason: String,
    help: Option<String>,
}

impl SettingsError {
    /// An error of the settings as a whole.
    pub fn new(reason: impl fmt::Display) -> Self {
        Self::at("", reason)
    }

    /// An error of one setting, by its path below the filter's name, such as `keys[0].id`.
    pub fn at(path: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self { path: path.into(), reason: reason.to_string(), help: None }
    }

    /// With a sentence that says what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.reason)
    }
}

impl std::error::Error for SettingsError {}

/// What is wrong with the use of a filter, where, and what to do about it.
#[derive(Debug)]
pub(crate) struct UseError {
    pub(crate) span: Span,
    /// The path below the list of filters.
    pub(crate) path: String,
    pub(crate) reason: String,
    pub(crate) help: Option<String>,
}

type Factory = Arc<dyn Fn(&FilterUse) -> Result<Arc<dyn Filter>, UseError> + Send + Sync>;

/// The filters that a program brings along.
#[derive(Clone, Default)]
pub(crate) struct FilterRegistry {
    global: Vec<Arc<dyn Filter>>,
    factories: BTreeMap<String, Factory>,
    schemas: FilterSchemas,
    faults: Vec<String>,
}

impl FilterRegistry {
    /// Adds a filter that sees every request.
    pub(crate) fn add(&mut self, filter: Arc<dyn Filter>) {
        self.global.push(filter);
    }

    /// Makes a filter known by a name.
    pub(crate) fn register<S, F>(
        &mut self,
        name: &str,
        factory: impl Fn(S) -> Result<F, SettingsError> + Send + Sync + 'static,
    ) where
        S: DeserializeOwned + JsonSchema,
        F: Filter + 'static,
    {
        let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if name.is_empty() || !name.chars().all(is_word) {
            let fault = format!(
                "the program registers a filter with the invalid name `{name}`: use lower-case \
                 letters, digits and `_`"
            );
            self.faults.push(fault);
            return;
        }
        if let Err(reason) = self.schemas.add::<S>(name) {
            self.faults.push(format!(
                "the program registers a filter as `{name}` whose settings can't be checked: {reason}"
            ));
            return;
        }
        let build: Factory = Arc::new(move |used| {
            let settings = used.settings::<S>().map_err(|error| UseError {
                span: error.span,
                reason: error.safe_reason,
                path: join(used, &error.path),
                help: None,
            })?;
            let filter = factory(settings).map_err(|error| UseError {
                span: used.span_of(&error.path),
                path: join(used, &error.path),
                reason: error.reason,
                help: error.help,
            })?;
            Ok(Arc::new(filter))
        });
        if self.factories.insert(name.to_owned(), build).is_some() {
            self.faults.push(format!("the program registers two filters with the name `{name}`"));
        }
    }

    /// The filters that see every request, in the order in which they were added.
    pub(crate) fn global_filters(&self) -> &[Arc<dyn Filter>] {
        &self.global
    }

    /// Builds the filter that a configuration uses.
    pub(crate) fn build(&self, used: &FilterUse) -> Result<Arc<dyn Filter>, UseError> {
        match self.factories.get(used.name.as_str()) {
            Some(build) => build(used),
            // The schema refuses unknown names when the file is read, unless it was read for another program.
            None => Err(UseError {
                span: used.name.span,
                path: join(used, ""),
                reason: "no filter is registered under this name".to_owned(),
                help: used.suggestion(self.names()),
            }),
        }
    }

    /// The schemas of the settings, by the filters' names.
    pub(crate) fn schemas(&self) -> &FilterSchemas {
        &self.schemas
    }

    /// The names under which filters are registered.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.factories.keys().map(String::as_str)
    }

    /// What the program did wrong when it registered its filters.
    pub(crate) fn faults(&self) -> &[String] {
        &self.faults
    }
}

fn join(used: &FilterUse, path: &str) -> String {
    let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
    format!("[{}].{}{dot}{path}", used.index, used.name.value)
}
