//! Reads a configuration, and finds the gateway that already runs it. Starts nothing.

use super::{Gateway, Summary};
use crate::explain::Explainer;
use crate::filter::FilterRegistry;
use crate::server::{HandoverSocket, RunningGateway, query_running};
use std::fmt;
use std::path::{Path, PathBuf};
use tidegate_config::{self as config, FilterSchemas, LoadedConfig, Problems, Variables};
use tidegate_http::address::Address;

/// A configuration, read and ready to be run or checked.
///
/// ```
/// let config = tidegate::Config::from_yaml(
///     "listeners: [{address: 127.0.0.1:0}]
/// upstreams: {api: {endpoints: ['127.0.0.1:4009']}}
/// routes: [{name: api, match: {path_prefix: /api}, upstream: api}]",
/// );
/// assert!(config.check().is_ok());
/// ```
pub struct Config {
    pub(crate) read: LoadedConfig,
    pub(super) file: Option<PathBuf>,
    pub(super) variables: Variables,
}

/// Where it is from: what it holds may be secret.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Config {
    /// Reads a file and those that it includes. It is followed while the gateway runs: a good
    /// edit takes effect within a second.
    pub fn from_file(path: impl AsRef<Path>) -> Self {
        Self::from_file_with(path, Variables::default())
    }

    /// Reads a file as [`Config::from_file`] does; these variables take precedence over the environment.
    pub fn from_file_with(path: impl AsRef<Path>, variables: Variables) -> Self {
        let path = path.as_ref();
        let read = config::read_with(path, &variables, &FilterSchemas::default());
        Self { read, file: Some(path.to_owned()), variables }
    }

    /// Reads a file to find the gateway that runs it, which may be that of a program with filters of its own.
    pub(crate) fn of_running(path: &Path) -> Self {
        let variables = Variables::default();
        let read = config::read_with(path, &variables, &FilterSchemas::any());
        Self { read, file: Some(path.to_owned()), variables }
    }

    /// Reads YAML from a string.
    pub fn from_yaml(yaml: &str) -> Self {
        Self::from_yaml_with(yaml, Variables::default())
    }

    /// Reads YAML from a string; these variables take precedence over the environment.
    pub fn from_yaml_with(yaml: &str, variables: Variables) -> Self {
        let read =
            config::read_str_with(yaml, "configuration", &variables, &FilterSchemas::default());
        Self { read, file: None, variables }
    }

    pub(super) fn handover_socket(&self) -> Option<HandoverSocket> {
        let written = self.read.config.upgrade_socket.as_ref();
        HandoverSocket::locate(written.map(|path| Path::new(path.as_str())), self.file.as_deref())
    }

    /// The socket by which the process is found that runs this configuration, broken or not.
    pub(crate) fn control_socket(&self) -> Option<PathBuf> {
        let LoadedConfig { config, sources, .. } = &self.read;
        let written =
            config.upgrade_socket.clone().or_else(|| sources.upgrade_socket_of_unreadable_file());
        let written = written.as_ref().map(|path| Path::new(path.as_str()));
        HandoverSocket::locate(written, self.file.as_deref()).map(|socket| socket.control())
    }

    /// The admin endpoint of the gateway that runs this file, and its token, as far as the file
    /// says: it may be broken by now, and the gateway runs all the same.
    ///
    /// # Errors
    /// When there is none, with all that is wrong with the file.
    pub(crate) fn running_admin(&self) -> Result<Option<(Address, Option<String>)>, Problems> {
        let LoadedConfig { config, problems, sources, .. } = &self.read;
        match config.admin.clone().or_else(|| sources.admin_of_unreadable_file()) {
            Some(admin) => Ok(Some((admin.address.value.0, admin.token.map(|it| it.value)))),
            None if problems.is_empty() => Ok(None),
            None => Err(problems.clone()),
        }
    }

    /// The addresses of the gateway that runs this file, as the gateway itself says: the file may have
    /// been edited since, which takes effect only after a restart. `None` when no gateway is found.
    pub(crate) fn ask_running(&self) -> Option<RunningGateway> {
        query_running(&self.control_socket()?).ok()
    }

    /// The first address that the gateway which runs this file listens on, in the same way.
    ///
    /// # Errors
    /// When there is none, with all that is wrong with the file.
    pub(crate) fn running_listener(&self) -> Result<Option<Address>, Problems> {
        let LoadedConfig { config, problems, sources, .. } = &self.read;
        match config
            .listeners
            .first()
            .cloned()
            .or_else(|| sources.first_listener_of_unreadable_file())
        {
            Some(listener) => Ok(Some(listener.address.value.0)),
            None if problems.is_empty() => Ok(None),
            None => Err(problems.clone()),
        }
    }

    /// What says what a gateway with this configuration would do with requests.
    ///
    /// # Errors
    /// When the configuration is wrong, with all that is wrong.
    pub fn explainer(self) -> Result<Explainer, Problems> {
        Gateway::from_config(self).explainer()
    }

    /// Says all that is wrong with it, or sums it up in a line.
    ///
    /// # Errors
    /// When the configuration is wrong, with all that is wrong.
    pub fn check(self) -> Result<Summary, Problems> {
        Gateway::from_config(self).check()
    }

    /// Reads the configuration again, for a program that registers these filters.
    pub(super) fn read_for_filters(self, filters: &FilterRegistry) -> Self {
        let Self { read, file, variables } = self;
        if filters.schemas().is_empty() {
            return Self { read, file, variables };
        }
        let read = match &file {
            Some(path) => config::read_with(path, &variables, filters.schemas()),
            None => {
                let files = read.sources.files();
                let files: Vec<_> =
                    files.map(|(path, text)| (path.to_owned(), text.to_owned())).collect();
                config::read_stored(&files, &variables, filters.schemas())
            }
        };
        Self { read, file, variables }
    }
}
