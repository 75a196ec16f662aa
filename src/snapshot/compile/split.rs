//! Compiles `split` and `mirror` of a route. It knows nothing of requests.

use super::{Compiler, header_name};
use crate::snapshot::{Mirror, SplitCondition, SplitRule};
use crate::upstream::Pool;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidegate_config::{self as config, Spanned, defaults};
use tokio::sync::Semaphore;

type PoolsByName = BTreeMap<String, Arc<Pool>>;

impl Compiler<'_> {
    /// Where some of a route's requests go.
    pub(super) fn splits(
        &mut self,
        written: &config::Route,
        key_path: &str,
        pools: &PoolsByName,
    ) -> Vec<SplitRule> {
        let (mut splits, mut shares) = (Vec::new(), Vec::new());
        let mut below = 0_u8;
        for (index, split) in written.split.iter().enumerate() {
            let (route, key_path) = (key_path, format!("{key_path}.split[{index}]"));
            if written.upstream.is_none() && !self.broken.is_any_within(route) {
                let reason = "a split diverts requests from the `upstream` of the route, and \
                              this route has none";
                self.problems.add(split.span, &*key_path, reason);
            }
            if split.percent.is_none() && split.headers.is_empty() && split.cookies.is_empty() {
                let reason = "the split matches no requests: add `percent`, `headers` or `cookies`";
                self.problems.add(split.span, &*key_path, reason);
            }
            let Some(pool) =
                self.pool_of_reference(&split.upstream, &format!("{key_path}.upstream"), pools)
            else {
                continue;
            };
            let mut take = |when| splits.push(SplitRule { pool: Arc::clone(&pool), when });
            for (name, value) in &split.headers {
                let key_path = format!("{key_path}.headers.{}", name.as_str());
                let value = self.compared_value(value.as_str(), split.span, key_path);
                if let Some((name, value)) = header_name(name).zip(value) {
                    take(SplitCondition::Header(name, value));
                }
            }
            for (name, value) in &split.cookies {
                take(SplitCondition::Cookie(name.clone(), value.as_str().to_owned()));
            }
            if let Some(percent) = split.percent {
                below = below.saturating_add(percent);
                if below > 100 {
                    let reason = "the percentages of all splits of the route add up to more than \
                                  100";
                    self.problems.add(split.span, format!("{key_path}.percent"), reason);
                }
                shares.push(SplitRule { pool, when: SplitCondition::Below(below) });
            }
        }
        // Who asks for one by name is not drawn by lot.
        splits.append(&mut shares);
        splits
    }

    /// Where copies of a route's requests go.
    pub(super) fn mirror(
        &mut self,
        written: &config::Route,
        key_path: &str,
        pools: &PoolsByName,
    ) -> Option<Mirror> {
        let mirror = written.mirror.as_ref()?;
        let pool = self.pool_of_reference(
            &mirror.upstream,
            &format!("{key_path}.mirror.upstream"),
            pools,
        )?;
        Some(Mirror {
            pool,
            percent: mirror.percent.unwrap_or(defaults::mirror::PERCENT),
            permits: Arc::new(Semaphore::new(
                mirror.concurrency.unwrap_or(defaults::mirror::CONCURRENCY),
            )),
            timeout: mirror.timeout.unwrap_or(defaults::mirror::TIMEOUT).0,
        })
    }

    fn pool_of_reference(
        &mut self,
        name: &Spanned<String>,
        key_path: &str,
        pools: &PoolsByName,
    ) -> Option<Arc<Pool>> {
        let pool = pools.get(name.as_str());
        if pool.is_none() {
            self.no_such_upstream(name, key_path);
        }
        pool.cloned()
    }
}
