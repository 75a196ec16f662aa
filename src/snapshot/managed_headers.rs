//! The headers that the gateway manages, and other spellings of them that CGI, WSGI and the like would read as the same
//! header. Changes no request itself.

use http::header::{HeaderMap, HeaderName};
use std::collections::{BTreeSet, HashSet};
use tidegate_http::proxy_headers::is_about_certificate;

/// How request headers with `_` in their names are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Underscores {
    /// Those that equal a managed header, when `_` reads as `-`, are dropped.
    DropManaged,
    /// All are dropped.
    Drop,
    /// The request is answered 400.
    Reject,
    /// All are passed on.
    Allow,
}

/// The request headers that the gateway sets, removes, trusts, matches or uses as a key, and how aliases of them are
/// treated: CGI, WSGI and the like replace every character except letters and digits by `_`.
#[derive(Debug)]
pub(crate) struct ManagedHeaders {
    /// What is done.
    pub underscores: Underscores,
    /// As they are written.
    names: HashSet<HeaderName>,
    /// As CGI reads them.
    cgi_names: BTreeSet<String>,
    /// Of these, the names that are not written with `-` alone.
    odd_cgi_names: BTreeSet<String>,
}

impl ManagedHeaders {
    /// Of these names.
    pub(crate) fn new(
        underscores: Underscores,
        names: impl IntoIterator<Item = HeaderName>,
    ) -> Self {
        let names: HashSet<HeaderName> = names.into_iter().collect();
        let odd_cgi_names = names.iter().filter(|name| is_odd(name)).map(as_read).collect();
        Self { underscores, cgi_names: names.iter().map(as_read).collect(), odd_cgi_names, names }
    }

    /// Whether requests have to be looked at though none of their headers has an odd name: where
    /// the configuration itself names one with `_`, its twin with `-` is the alias.
    pub(crate) fn has_odd_names(&self) -> bool {
        !self.odd_cgi_names.is_empty() && self.underscores != Underscores::Allow
    }

    /// The headers that are not to be passed on.
    pub(crate) fn aliases(&self, headers: &HeaderMap) -> Vec<HeaderName> {
        let is_alias = |name: &&HeaderName| match self.underscores {
            Underscores::Allow => false,
            Underscores::Drop if has_underscore(name) => true,
            _ if self.names.contains(*name) => false,
            _ if is_odd(name) => {
                let read = as_read(name);
                self.cgi_names.contains(&read) || is_about_certificate(&read.replace('_', "-"))
            }
            _ => !self.odd_cgi_names.is_empty() && self.odd_cgi_names.contains(&as_read(name)),
        };
        headers.keys().filter(is_alias).cloned().collect()
    }
}

/// Whether a lower-case name has characters other than letters, digits and `-`.
pub(crate) fn is_odd(name: &HeaderName) -> bool {
    name.as_str().bytes().any(|byte| !matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// Whether a name contains `_`.
pub(crate) fn has_underscore(name: &HeaderName) -> bool {
    name.as_str().contains('_')
}

fn as_read(name: &HeaderName) -> String {
    let read = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    name.as_str().chars().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn aliases(
        underscores: Underscores,
        managed: &[&'static str],
        sent: &[&'static str],
    ) -> String {
        let name = |name: &&'static str| HeaderName::from_static(name);
        let managed = ManagedHeaders::new(underscores, managed.iter().map(name));
        let headers: HeaderMap =
            sent.iter().map(|sent| (name(sent), HeaderValue::from_static("1"))).collect();
        let mut found: Vec<_> = managed.aliases(&headers).iter().map(ToString::to_string).collect();
        found.sort();
        found.join(" ")
    }

    #[test]
    fn header_that_cgi_reads_as_a_managed_one_is_an_alias() {
        let sent = [
            "ssl_client_cert",
            "x_real_ip",
            "x-real_ip",
            "x.real.ip",
            "x-real-ip",
            "x_other",
            "accept",
        ];
        let managed = ["x-real-ip"];
        let dropped = aliases(Underscores::DropManaged, &managed, &sent);
        assert_eq!(dropped, "ssl_client_cert x-real_ip x.real.ip x_real_ip");
        let dropped = aliases(Underscores::Drop, &managed, &sent);
        assert_eq!(dropped, "ssl_client_cert x-real_ip x.real.ip x_other x_real_ip");
        assert_eq!(aliases(Underscores::Allow, &managed, &sent), "");
    }

    #[test]
    fn managed_header_with_an_underscore_has_a_hyphenated_alias() {
        let sent = ["x_tenant", "x-tenant", "x-other"];
        assert_eq!(aliases(Underscores::DropManaged, &["x_tenant"], &sent), "x-tenant");
    }
}
