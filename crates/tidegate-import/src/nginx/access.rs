//! `allow`, `deny` and authentication. A rule that cannot be converted closes the routes that it guards, so that an
//! import never opens them; this module does not know how routes are matched.

use super::Importer;
use super::scope::BlockScope;
use super::tree::Directive;
use crate::draft::{Action, Clients, Route, Scheme};
use crate::passwords;
use std::net::IpAddr;

/// Directives that restrict access and have no counterpart, and the argument that switches each off.
const WITHOUT_COUNTERPART: [(&str, &str); 4] = [
    ("auth_jwt", "off"),
    ("secure_link", "off"),
    ("ssl_verify_client", "off"),
    ("valid_referers", "none"),
];

/// A `server` block, and what it inherits.
pub(super) struct ServerScope<'s, 'd> {
    pub(super) directive: &'d Directive,
    pub(super) scope: &'s BlockScope<'d>,
}

/// What `allow` and `deny` mean.
#[derive(Debug, PartialEq, Eq)]
enum Rules {
    /// They refuse nobody.
    AdmitAll,
    /// They refuse everybody.
    DenyAll,
    /// They are these lists.
    Lists(Clients),
    /// Their order decides about an address.
    Ordered,
}

impl Importer<'_> {
    /// Sets what access to the route requires, or returns the answer that replaces it.
    pub(super) fn guard(
        &mut self,
        route: &mut Route,
        scope: &BlockScope<'_>,
        server: &ServerScope<'_, '_>,
    ) -> Option<Action> {
        if scope.own_directives().iter().any(|directive| directive.name == "internal") {
            return Some(respond(404));
        }
        let rules = scope.all_of(&["allow", "deny"]);
        let lists = match client_lists(&rules) {
            Rules::DenyAll => return Some(respond(403)),
            Rules::AdmitAll => Ok(None),
            Rules::Lists(lists) => Ok(Some(lists)),
            Rules::Ordered => Err("the order of the rules decides about some addresses"),
        };
        // Each directive, and what it becomes.
        let mut guards: Vec<(&Directive, Result<(), String>)> = Vec::new();
        match (lists, rules.first()) {
            (Ok(Some(lists)), Some(rule)) => {
                route.clients = Some(lists);
                guards.push((rule, Ok(())));
            }
            (Err(reason), _) => {
                guards.extend(rules.iter().map(|rule| (*rule, Err(reason.to_owned()))));
            }
            (Ok(_), _) => {}
        }
        let mut schemes = 0;
        let mut require = |route: &mut Route, made: Result<String, String>| {
            schemes += 1;
            made.map(|name| route.require = Some(name))
        };
        if let Some(basic) = scope.last("auth_basic").filter(|it| it.argument(0) != Some("off")) {
            let made = self.basic(basic, scope);
            guards.push((basic, require(route, made)));
        }
        if let Some(asks) = scope.last("auth_request").filter(|it| it.argument(0) != Some("off")) {
            let made = self.auth_request(asks, scope, server);
            guards.push((asks, require(route, made)));
        }
        let is_any = scope.value("satisfy") == Some("any") && guards.len() > 1;
        for (name, harmless) in WITHOUT_COUNTERPART {
            for directive in
                scope.all(name).into_iter().filter(|it| it.argument(0) != Some(harmless))
            {
                guards.push((directive, Err(String::new())));
            }
        }
        let together = match (is_any, schemes) {
            (true, _) => Some("`satisfy any` admits a request that one of several guards admits"),
            (false, 2..) => {
                Some("both `auth_basic` and `auth_request` would have to admit a request")
            }
            _ => None,
        };
        if let Some(reason) = together {
            guards.iter_mut().for_each(|(_, made)| *made = Err(reason.to_owned()));
        }
        for (directive, made) in &guards {
            if let Err(reason) = made {
                self.note_closed(directive, reason);
            }
        }
        if guards.iter().all(|(_, made)| made.is_ok()) {
            return None;
        }
        (route.clients, route.require) = (None, None);
        Some(respond(403))
    }

    fn note_closed(&mut self, directive: &Directive, reason: &str) {
        let text = if directive.name == "ssl_verify_client" {
            "client certificates are not converted: set `listeners[].tls.client_auth`, then replace `respond` \
             in the routes that answer 403 until then"
                .to_owned()
        } else {
            let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
            format!(
                "`{}`: access control that the import cannot convert{reason}; the route answers 403 until \
                 you replace it",
                directive.display()
            )
        };
        self.notes.left_out(&directive.position, text);
    }

    /// The scheme of `auth_basic`, or why it has none.
    fn basic(&mut self, basic: &Directive, scope: &BlockScope<'_>) -> Result<String, String> {
        let realm = basic.argument(0).unwrap_or_default();
        let file = scope.value("auth_basic_user_file").ok_or("no `auth_basic_user_file`")?;
        if realm.contains('$') || file.contains('$') {
            return Err("it has a variable".to_owned());
        }
        if let Some(reason) = passwords::reason_against(&self.folder.join(file)) {
            return Err(reason);
        }
        // nginx passes the password on.
        let scheme =
            Scheme::Basic { file: file.to_owned(), realm: realm.to_owned(), forward: true };
        Ok(self.draft.scheme(scheme))
    }
}

/// In nginx the first rule that matches decides; in Tidegate `deny` is stronger than `allow`. They mean the same where all
/// `deny` come first.
fn client_lists(rules: &[&Directive]) -> Rules {
    let mut lists = Clients::default();
    let mut denies_rest = false;
    for rule in rules {
        let network = rule.argument(0).unwrap_or_default();
        match (rule.name.as_str(), network) {
            ("deny", "all") => {
                denies_rest = true;
                break;
            }
            (_, "all") => break,
            (_, network) if !is_network(network) => return Rules::Ordered,
            ("allow", network) => lists.allow.push(network.to_owned()),
            (_, _) if !lists.allow.is_empty() => return Rules::Ordered,
            (_, network) => lists.deny.push(network.to_owned()),
        }
    }
    if !denies_rest {
        lists.allow.clear();
    }
    match (denies_rest, lists.allow.is_empty(), lists.deny.is_empty()) {
        (true, true, _) => Rules::DenyAll,
        (false, _, true) => Rules::AdmitAll,
        _ => Rules::Lists(lists),
    }
}

/// Whether this is an address, or a network in CIDR notation.
fn is_network(written: &str) -> bool {
    let (address, length) = match written.split_once('/') {
        Some((address, length)) => (address, length.parse::<u8>().ok()),
        None => (written, Some(0)),
    };
    let max = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    length.is_some_and(|length| length <= max)
}

/// A fixed answer without a body.
pub(super) fn respond(status: u16) -> Action {
    Action::Respond { status, body: None, content_type: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::SourcePosition;
    use std::path::PathBuf;

    fn rules(written: &str) -> Rules {
        let directives: Vec<Directive> = written
            .split(';')
            .filter_map(|rule| rule.trim().split_once(' '))
            .map(|(name, network)| Directive {
                position: SourcePosition { file: PathBuf::new(), line: 1 },
                name: name.to_owned(),
                arguments: vec![network.to_owned()],
                block: None,
            })
            .collect();
        client_lists(&directives.iter().collect::<Vec<_>>())
    }

    #[test]
    fn rules_become_lists_only_where_their_order_decides_nothing() {
        let lists = |allow: &[&str], deny: &[&str]| {
            let owned = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect();
            Rules::Lists(Clients { allow: owned(allow), deny: owned(deny) })
        };
        for (written, meaning) in [
            ("", Rules::AdmitAll),
            ("allow all", Rules::AdmitAll),
            ("allow 10.0.0.0/8", Rules::AdmitAll),
            ("deny all", Rules::DenyAll),
            ("deny 10.0.0.1; deny all", Rules::DenyAll),
            ("allow 10.0.0.0/8; allow ::1; deny all", lists(&["10.0.0.0/8", "::1"], &[])),
            (
                "deny 10.0.9.0/24; allow 10.0.0.0/8; deny all",
                lists(&["10.0.0.0/8"], &["10.0.9.0/24"]),
            ),
            ("deny 192.0.2.1", lists(&[], &["192.0.2.1"])),
            ("deny 192.0.2.1; allow all; deny 192.0.2.2", lists(&[], &["192.0.2.1"])),
            ("deny 192.0.2.1; allow 192.0.2.2", lists(&[], &["192.0.2.1"])),
            ("allow 10.0.9.1; deny 10.0.9.0/24; allow 10.0.0.0/8; deny all", Rules::Ordered),
            ("allow 10.0.9.1; deny 10.0.9.0/24", Rules::Ordered),
            ("allow unix:; deny all", Rules::Ordered),
            ("allow 10.0.0.0/33; deny all", Rules::Ordered),
        ] {
            assert_eq!(rules(written), meaning, "{written}");
        }
    }
}
