//! Compiles the list of upstreams, and reports a reference to one that it lacks. It knows nothing of an upstream's keys.

use super::{Compiler, upstream};
use crate::upstream::{Pool, Probe};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidegate_config::{self as config, Spanned};

impl Compiler<'_> {
    pub(super) fn pools(&mut self) -> BTreeMap<String, Arc<Pool>> {
        self.config
            .upstreams
            .iter()
            .map(|(name, written)| {
                let previous = self.env.previous.and_then(|it| it.pools.get(name));
                (name.clone(), self.pool(name, written, previous))
            })
            .collect()
    }

    pub(super) fn probes(&self) -> BTreeMap<String, Arc<Probe>> {
        let upstreams = self.config.upstreams.iter();
        let probe = |written: &config::HealthCheck| Arc::new(upstream::probe(written));
        upstreams
            .filter_map(|(name, written)| Some((name.clone(), probe(written.health.as_ref()?))))
            .collect()
    }

    /// A reference to an upstream that is not usable. One mistake is one error: a name is reported at
    /// its first reference, and not at all where the upstream, or `upstreams` itself, has an error.
    pub(super) fn no_such_upstream(&mut self, name: &Spanned<String>, key_path: &str) {
        let is_misspelt = |problem: &config::Problem| {
            let path = problem.path();
            problem.is_unknown_key()
                && !path.contains('.')
                && config::did_you_mean(path, ["upstreams", "include"]).is_some()
        };
        if self.declared_upstreams.contains(name.as_str())
            || self.broken.is_whole("upstreams")
            || self.broken.is_any_within("include")
            || self.problems.iter().any(|it| is_misspelt(it) || it.may_hide_upstreams())
            || !self.missing_upstreams.insert(name.to_string())
        {
            return;
        }
        let guess = config::did_you_mean(name, self.declared_upstreams.iter().map(String::as_str));
        let reason = format!("there is no upstream `{}`", name.as_str());
        let problem = self.problems.add(name.span, key_path, reason);
        if let Some(guess) = guess {
            problem.help(format!("did you mean `{guess}`?"));
        }
    }
}
