//! The calls of a program on its application, in order. It does not know routes.

use super::text::TextWithVariables;
use super::value::{Call, Value};
use crate::draft::PathRule;
use std::rc::Rc;

#[derive(Debug, Default)]
pub(super) struct Program<'a> {
    /// The applications and routers.
    pub apps: Vec<Vec<AppCall<'a>>>,
    /// Which of them are routers.
    pub routers: Vec<usize>,
    pub listens: Vec<Listen>,
    /// WebSockets that `upgrade` handlers proxy themselves.
    pub upgrades: Vec<UpgradeProxy<'a>>,
    /// Proxies whose own `upgrade` is used, and their paths; without paths, for all.
    pub upgraded: Vec<(Rc<Call<'a>>, Vec<PathRule>)>,
    /// Query parameters that an upgrade handler reads for a user.
    pub user_id: Vec<String>,
}

impl Program<'_> {
    /// The number of recorded calls.
    pub(super) fn size(&self) -> usize {
        self.apps.iter().map(Vec::len).sum::<usize>() + self.listens.len()
    }
}

/// A call such as `app.use(…)` or `app.get(…)`.
#[derive(Debug, Clone)]
pub(super) struct AppCall<'a> {
    pub line: usize,
    /// Empty for all methods.
    pub methods: Vec<String>,
    /// Whether paths below are included.
    pub is_prefix: bool,
    pub paths: Option<Value<'a>>,
    pub handlers: Vec<Value<'a>>,
}

impl AppCall<'_> {
    /// A handler with unknown behaviour.
    pub(super) fn unseen(line: usize) -> Self {
        let handlers = vec![Value::Unknown];
        Self { line, methods: Vec::new(), is_prefix: true, paths: None, handlers }
    }
}

#[derive(Debug)]
pub(super) struct Listen {
    pub port: TextWithVariables,
    pub host: Option<String>,
    /// The files of the certificate and its key.
    pub tls: Option<(String, String)>,
    pub line: usize,
}

#[derive(Debug)]
pub(super) struct UpgradeProxy<'a> {
    pub paths: Vec<PathRule>,
    pub target: Value<'a>,
    pub line: usize,
    /// Whether the target gets the client's path.
    pub keeps_path: bool,
}
