//! Compiles the lists of client addresses. It knows nothing of requests.

use super::Compiler;
use super::built_in::{BuiltIn, compiled};
use crate::filter::{ClientLists, ClientsFilter};
use std::sync::Arc;
use tidegate_config as config;

pub(super) const FILTER: BuiltIn = BuiltIn {
    keys: &["clients"],
    for_all: |compiler| compiled(compiler.clients(None)),
    for_route: |compiler, route, _| compiled(compiler.clients(Some(&route.written.clients))),
};

impl Compiler<'_> {
    /// The filter of the whole gateway's lists, and of a route's own.
    fn clients(&self, own: Option<&config::Clients>) -> Option<ClientsFilter> {
        let lists: Vec<Arc<ClientLists>> = [Some(&self.config.clients), own]
            .into_iter()
            .flatten()
            .filter_map(client_lists)
            .collect();
        (!lists.is_empty()).then_some(ClientsFilter { lists })
    }
}

/// The lists, unless they are empty.
pub(super) fn client_lists(written: &config::Clients) -> Option<Arc<ClientLists>> {
    let networks =
        |list: &[config::Spanned<config::Cidr>]| list.iter().map(|it| it.value.0).collect();
    let lists = ClientLists { allow: networks(&written.allow), deny: networks(&written.deny) };
    (!lists.is_empty()).then(|| Arc::new(lists))
}
