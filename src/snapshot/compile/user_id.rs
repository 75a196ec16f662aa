//! Compiles `identity.user_id` into its filter. It knows nothing of requests.

use super::built_in::{BuiltIn, compiled};
use super::{Compiler, header_name};
use crate::filter::{UserIdFilter, UserIdReader};
use tidegate_config::UserIdSource;

pub(super) const FILTER: BuiltIn = BuiltIn {
    keys: &["identity", "user_id"],
    for_all: |compiler| compiled(compiler.user_id()),
    for_route: |_, _, inherited| inherited,
};

impl Compiler<'_> {
    /// The filter that reads the user id, where the configuration says from what.
    pub(super) fn user_id(&self) -> Option<UserIdFilter> {
        let written = &self.config.identity.user_id;
        let readers: Vec<UserIdReader> = written
            .iter()
            .filter_map(|source| match source {
                UserIdSource::Query(name) => Some(UserIdReader::Query(name.clone())),
                UserIdSource::Cookie(name) => Some(UserIdReader::Cookie(name.clone())),
                UserIdSource::Claim(name) => Some(UserIdReader::Claim(name.clone())),
                UserIdSource::Header(name) => header_name(name).map(UserIdReader::Header),
            })
            .collect();
        (!readers.is_empty()).then(|| UserIdFilter::new(readers))
    }
}
