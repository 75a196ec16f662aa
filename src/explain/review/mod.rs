//! Warnings about configurations that are valid but unwise; docs/warnings.md explains each. Changes nothing.

mod cors;
mod files;
mod risks;
mod shadows;
mod users;

use crate::snapshot::Snapshot;
use tidegate_config::{self as config, Config, ProblemCollector, Problems, Sources, Spanned};

/// All warnings about a configuration, each with the name under which docs/warnings.md explains it.
pub(crate) fn review(snapshot: &Snapshot, config: &Config, sources: Sources) -> Problems {
    let mut problems = ProblemCollector::new(sources.clone());
    files::review(config, &sources, &mut problems);
    unused_upstreams(config, &mut problems);
    cors::review(config, &mut problems);
    risks::review(config, &mut problems);
    users::review(config, &mut problems);
    shadows::review(snapshot, config, &mut problems);
    problems.into_problems()
}

fn unused_upstreams(config: &Config, problems: &mut ProblemCollector) {
    for (name, upstream) in &config.upstreams {
        let leads = |route: &Spanned<config::Route>| {
            let splits = route.split.iter().map(|split| &*split.upstream.value);
            let mirror = route.mirror.iter().map(|mirror| &*mirror.upstream.value);
            let own = route.upstream.iter().map(|upstream| &*upstream.value);
            own.chain(splits).chain(mirror).any(|upstream| upstream == name)
        };
        if !config.routes.iter().any(leads) {
            let key_path = format!("upstreams.{name}");
            problems.warn(
                "unused-upstream",
                upstream.span,
                key_path,
                "no route uses this upstream",
            );
        }
    }
}
