//! The variables of templates: `{client_ip}` and the others. It knows nothing of which setting holds the
//! template.

use crate::exchange::Exchange;
use http::header::{self, HeaderValue};
use pingora::http::RequestHeader;
use tidegate_http::address;
use tidegate_http::host::without_port;
use tidegate_http::stable_hash;
use tidegate_http::template::{Template, TemplatePart, Variable};

/// The values of the variables for one request.
pub(crate) struct Variables<'v> {
    pub(crate) request: &'v RequestHeader,
    pub(crate) exchange: &'v Exchange,
}

impl Variables<'_> {
    /// The template as the value of a header; `None` if it is empty or
    /// invalid.
    pub(crate) fn header_value(&self, template: &Template) -> Option<HeaderValue> {
        let text = template.render(|text, variable| {
            let start = text.len();
            self.push(text, variable);
            // Browsers treat `\\` as `/`: two at the beginning of a `Location` would begin a host.
            if matches!(variable, Variable::Path | Variable::Target)
                && let Some(path) = text.get(start..).filter(|path| path.contains('\\'))
            {
                let escaped = path.replace('\\', "%5C");
                text.truncate(start);
                text.push_str(&escaped);
            }
        });
        let value = text.trim_matches([' ', '\t']);
        // It must not contain line breaks (RFC 9110, section 5.5), so that no client can inject a header by a
        // variable.
        HeaderValue::from_bytes(value.as_bytes()).ok().filter(|value| !value.is_empty())
    }

    /// The template as a URI reference (RFC 3986): no value can leave the component in which its variable is. `None` if it
    /// needs a host and the request has none, or if a value would form a dot segment, which would change the
    /// path.
    pub(crate) fn uri(&self, template: &UriTemplate) -> Option<String> {
        if template.wants_host && without_port(self.authority()).is_empty() {
            return None;
        }
        let mut value = String::new();
        let mut parts = template.parts.iter();
        let mut uri = template.template.render(|text, variable| {
            value.clear();
            let part = parts.next().copied().unwrap_or(UriPlace::Value);
            let is_path = matches!(part, UriPlace::Authority | UriPlace::Path);
            let normal = self.exchange.normal_path(self.request);
            match variable {
                // A client resolves dot segments, and so would leave the path before them.
                Variable::Path if is_path && has_dot_segment(self.path()) => value.push_str(normal),
                Variable::Target if is_path && has_dot_segment(self.path()) => {
                    value.push_str(normal);
                    self.push_query(&mut value);
                }
                variable => self.push(&mut value, variable),
            }
            push_encoded(text, &value, part.characters_kept(variable));
        });
        // A path must not begin with two slashes, which would begin a host.
        if template.is_path && uri.starts_with("//") {
            let slashes = uri.len() - uri.trim_start_matches('/').len();
            uri.drain(..slashes - 1);
        }
        (template.has_dot_segment || !has_dot_segment(&uri)).then_some(uri)
    }

    fn push(&self, text: &mut String, variable: &Variable) {
        match variable {
            Variable::ClientAddress => {
                if let Some(address) = self.exchange.client_address() {
                    address::push_ip(text, address);
                }
            }
            Variable::RequestId => text.push_str(self.exchange.request_id()),
            Variable::UserId => {
                text.push_str(self.exchange.user_id().map_or("", |id| id.as_str()));
            }
            Variable::Claim(name) => {
                let claim = self.exchange.identity().and_then(|identity| identity.claim(name));
                text.push_str(claim.as_deref().unwrap_or_default());
            }
            Variable::Route => text.push_str(self.exchange.route()),
            Variable::Method => text.push_str(self.request.method.as_str()),
            Variable::Scheme => text.push_str(self.exchange.scheme()),
            Variable::Host => text.push_str(without_port(self.authority())),
            Variable::Authority => text.push_str(self.authority()),
            Variable::Path => text.push_str(self.path()),
            Variable::Query => text.push_str(self.request.uri.query().unwrap_or_default()),
            Variable::Target => {
                text.push_str(self.path());
                self.push_query(text);
            }
        }
    }

    fn push_query(&self, text: &mut String) {
        if let Some(query) = self.request.uri.query() {
            text.push('?');
            text.push_str(query);
        }
    }

    fn authority(&self) -> &str {
        let host = self.request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        self.request.uri.authority().map(http::uri::Authority::as_str).or(host).unwrap_or_default()
    }

    /// The forwarded path. Two slashes at its beginning would turn its first segment into a host, if nothing precedes
    /// it.
    fn path(&self) -> &str {
        match self.exchange.forwarded_path(self.request) {
            path if path.starts_with("//") => self.exchange.normal_path(self.request),
            path => path,
        }
    }
}

/// A URI reference with variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UriTemplate {
    template: Template,
    /// The component of each variable.
    parts: Box<[UriPlace]>,
    /// Whether the host of the request is one of the variables.
    wants_host: bool,
    /// Whether it is a path without a host.
    is_path: bool,
    /// Whether its literal text has a dot segment.
    has_dot_segment: bool,
}

// The other fields follow from it.
stable_hash!(UriTemplate { template } without { parts, wants_host, is_path, has_dot_segment });

/// The component of a URI in which a variable is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UriPlace {
    /// Before the path: scheme, host, port.
    Authority,
    /// In the path.
    Path,
    /// In the query or the fragment, where a parameter begins.
    Parameters,
    /// In the fragment, and in no parameter's value.
    Fragment,
    /// In the name or the value of a parameter.
    Value,
}

impl UriPlace {
    /// The characters besides unreserved ones that stay unescaped: none that would end the component.
    fn characters_kept(self, variable: &Variable) -> &'static [u8] {
        match (self, variable) {
            (Self::Authority | Self::Path, Variable::Path) => PATH_CHARACTERS,
            (Self::Authority | Self::Path, Variable::Target) => QUERY_CHARACTERS,
            (Self::Authority, Variable::Host | Variable::Authority | Variable::ClientAddress) => {
                b":[]"
            }
            (Self::Path, Variable::Host | Variable::Authority | Variable::ClientAddress) => b":",
            (Self::Parameters, Variable::Query) => QUERY_CHARACTERS,
            (Self::Fragment, Variable::Path | Variable::Target | Variable::Query) => {
                QUERY_CHARACTERS
            }
            _ => b"",
        }
    }
}

impl UriTemplate {
    /// Determines the components of its variables.
    pub(crate) fn new(template: Template) -> Self {
        let mut parts = Vec::new();
        let mut wants_host = false;
        let (mut position, mut written) = (UriPlace::Authority, String::new());
        let mut is_fragment = false;
        for part in template.parts() {
            match part {
                TemplatePart::Variable(variable) => {
                    wants_host |= matches!(variable, Variable::Host | Variable::Authority);
                    parts.push(position);
                    position = match position {
                        UriPlace::Parameters => UriPlace::Value,
                        UriPlace::Authority
                            if matches!(variable, Variable::Path | Variable::Target) =>
                        {
                            UriPlace::Path
                        }
                        position => position,
                    };
                    written.push('x');
                }
                TemplatePart::Literal(literal) => {
                    for c in literal.chars() {
                        // `//` begins an authority; any other slash ends it.
                        let begins_authority =
                            c == '/' && (written.is_empty() || written.ends_with([':', '/']));
                        written.push(c);
                        position = match (position, c) {
                            (_, '#') if !is_fragment => {
                                is_fragment = true;
                                UriPlace::Fragment
                            }
                            (UriPlace::Authority, '/') if !begins_authority => UriPlace::Path,
                            (UriPlace::Authority | UriPlace::Path | UriPlace::Fragment, '?')
                            | (UriPlace::Parameters | UriPlace::Value, '&' | ';') => {
                                UriPlace::Parameters
                            }
                            (UriPlace::Parameters | UriPlace::Fragment, _) if c == '=' => {
                                UriPlace::Value
                            }
                            (UriPlace::Parameters, _) => UriPlace::Value,
                            (position, _) => position,
                        };
                    }
                    // A lone slash at the beginning is that of a path.
                    if written.starts_with('/') && !written.starts_with("//") {
                        position = match position {
                            UriPlace::Authority => UriPlace::Path,
                            position => position,
                        };
                    }
                }
            }
        }
        let text = template.to_string();
        let before_path = written.split(['/', '?', '#']).next().unwrap_or_default();
        let has_scheme = before_path.ends_with(':');
        let is_path = !text.starts_with("//") && !has_scheme;
        let has_dot_segment = has_dot_segment(&written);
        Self { template, parts: parts.into(), wants_host, is_path, has_dot_segment }
    }
}

impl std::fmt::Display for UriTemplate {
    /// Writes the template as in the file.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.template.fmt(f)
    }
}

/// Whether the path of a URI reference has a segment that browsers resolve; to them `%2e` is a dot
/// as well.
fn has_dot_segment(uri: &str) -> bool {
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    path.split(['/', '\\']).any(|segment| {
        let mut rest = segment;
        let mut dots = 0;
        while let Some(first) = rest.get(..1) {
            let length = match first {
                "." => 1,
                _ if rest.get(..3).is_some_and(|it| it.eq_ignore_ascii_case("%2e")) => 3,
                _ => return false,
            };
            rest = rest.get(length..).unwrap_or_default();
            dots += 1;
        }
        rest.is_empty() && matches!(dots, 1 | 2)
    })
}

/// Characters that a path may have besides unreserved ones (RFC 3986, section 3.3); percent-encodings are kept.
const PATH_CHARACTERS: &[u8] = b"/%!$&'()*+,;=:@";

/// Characters that a query, or a path with a query, may have besides unreserved ones (RFC 3986, section 3.4).
const QUERY_CHARACTERS: &[u8] = b"/%!$&'()*+,;=:@?";

/// Appends a value, escaping all but unreserved characters and those that are kept.
fn push_encoded(text: &mut String, value: &str, kept: &[u8]) {
    const HEX_DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    for byte in value.bytes() {
        let is_unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if is_unreserved || kept.contains(&byte) {
            text.push(char::from(byte));
        } else {
            let digit = |nibble: u8| HEX_DIGITS.get(usize::from(nibble)).copied().unwrap_or('0');
            text.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{UserId, UserIdOrigin};
    use proptest::prelude::*;

    fn exchange(user: &str) -> Exchange {
        let mut exchange = Exchange::new("web".into(), HeaderValue::from_static("id-1"));
        exchange.user_id = UserId::new(user, UserIdOrigin::Query);
        exchange.client_address = Some([192, 0, 2, 1].into());
        exchange
    }

    fn request(target: &str) -> RequestHeader {
        let mut head = RequestHeader::build("GET", target.as_bytes(), None).expect("a request");
        head.insert_header("host", "example.com:8080").expect("a host");
        head
    }

    #[test]
    fn each_variable_has_its_value_from_the_request() {
        let (exchange, request) = (exchange("user-1"), request("/a/b?c=d"));
        let variables = Variables { request: &request, exchange: &exchange };
        for (written, expected) in [
            ("{client.address} {request.id}", Some("192.0.2.1 id-1")),
            ("{user.id}@{route}", Some("user-1@web")),
            (
                "{method} {scheme}://{authority}{target}",
                Some("GET http://example.com:8080/a/b?c=d"),
            ),
            ("{host} {path} {query}", Some("example.com /a/b c=d")),
            ("", None),
        ] {
            let value = variables.header_value(&written.parse().expect("a template"));
            assert_eq!(value.as_ref().and_then(|v| v.to_str().ok()), expected, "{written}");
        }
    }

    #[test]
    fn value_in_a_uri_stays_in_its_component() {
        let (exchange, request) = (exchange("a/../b?c#d"), request("/ü%20x?q=y"));
        let variables = Variables { request: &request, exchange: &exchange };
        let uri = |written: &str| {
            let template = UriTemplate::new(written.parse().expect("a template"));
            variables.uri(&template).expect("a host")
        };
        assert_eq!(uri("/u/{user.id}"), "/u/a%2F..%2Fb%3Fc%23d");
        assert_eq!(uri("https://{host}{path}"), "https://example.com/%C3%BC%20x");
    }

    #[test]
    fn value_cannot_turn_a_path_into_a_host_or_dot_segment() {
        let request = request("/evil.test/x");
        for (user, written, expected) in [
            ("", "/{user.id}{path}", Some("/evil.test/x")),
            ("", "/{user.id}{path}?n=https://a.test", Some("/evil.test/x?n=https://a.test")),
            ("", "/{path}", Some("/evil.test/x")),
            ("", "/{user.id}/{user.id}/evil.test", Some("/evil.test")),
            ("", "{user.id}{path}", Some("/evil.test/x")),
            ("", "/a/{user.id}/b", Some("/a//b")),
            ("u", "/{user.id}{path}", Some("/u/evil.test/x")),
            ("..", "/a/{user.id}/b", None),
            (".", "/a/{user.id}", None),
            (".", "/a/.{user.id}/b", None),
            ("..", "/a/x{user.id}/b", Some("/a/x../b")),
            ("..", "/a?b={user.id}", Some("/a?b=..")),
            ("u", "../{user.id}", Some("../u")),
            ("", "https://a.test/{user.id}{path}", Some("https://a.test//evil.test/x")),
        ] {
            let exchange = exchange(user);
            let variables = Variables { request: &request, exchange: &exchange };
            let template = UriTemplate::new(written.parse().expect("a template"));
            assert_eq!(variables.uri(&template).as_deref(), expected, "{user} {written}");
        }
    }

    #[test]
    fn value_in_a_query_parameter_cannot_end_or_add_a_parameter() {
        let (exchange, request) = (exchange("user-1"), request("/a;b&c=d%20e?q=1+2&r=%26"));
        let variables = Variables { request: &request, exchange: &exchange };
        for (written, expected) in [
            (
                "/l?next={target}&app=x",
                "/l?next=%2Fa%3Bb%26c%3Dd%2520e%3Fq%3D1%2B2%26r%3D%2526&app=x",
            ),
            ("https://id.test?n={path}", "https://id.test?n=%2Fa%3Bb%26c%3Dd%2520e"),
            ("/l?{query}", "/l?q=1+2&r=%26"),
            ("/l?a=1&{query}", "/l?a=1&q=1+2&r=%26"),
            ("/l?a={query}", "/l?a=q%3D1%2B2%26r%3D%2526"),
            ("/l?x{query}", "/l?xq%3D1%2B2%26r%3D%2526"),
            ("/l?{path}", "/l?%2Fa%3Bb%26c%3Dd%2520e"),
            ("/s/{query}/x", "/s/q%3D1%2B2%26r%3D%2526/x"),
            ("/#{target}", "/#/a;b&c=d%20e?q=1+2&r=%26"),
            ("/#/login?next={path}", "/#/login?next=%2Fa%3Bb%26c%3Dd%2520e"),
            ("//x{path}", "//x/a;b&c=d%20e"),
            (
                "{scheme}://{authority}{target}#{user.id}",
                "http://example.com:8080/a;b&c=d%20e?q=1+2&r=%26#user-1",
            ),
            ("{path}?u={user.id}", "/a;b&c=d%20e?u=user-1"),
            ("/x/{host}", "/x/example.com"),
        ] {
            let template = UriTemplate::new(written.parse().expect("a template"));
            assert_eq!(variables.uri(&template).as_deref(), Some(expected), "{written}");
        }
    }

    #[test]
    fn value_with_a_line_break_gives_no_header() {
        let (mut exchange, request) = (exchange("user-1"), request("/"));
        exchange.path = Some("/a\r\nX-Admin: 1".to_owned());
        let variables = Variables { request: &request, exchange: &exchange };
        assert_eq!(variables.header_value(&"<{path}>".parse().expect("a template")), None);
        let template = UriTemplate::new("{path}".parse().expect("a template"));
        assert_eq!(variables.uri(&template).as_deref(), Some("/a%0D%0AX-Admin:%201"));
    }

    proptest! {
        #[test]
        fn no_user_id_breaks_a_header_or_uri(user in "\\PC{0,20}[\r\n\0]{0,3}\\PC{0,20}") {
            let (exchange, request) = (exchange(&user), request("/"));
            let variables = Variables { request: &request, exchange: &exchange };
            let value = variables.header_value(&"<{user.id}>".parse().expect("a template"));
            let value = value.expect("always a value");
            prop_assert!(value.as_bytes().iter().all(|&byte| byte >= 0x20 && byte != 0x7f));
            let template = UriTemplate::new("/{user.id}".parse().expect("a template"));
            let uri = variables.uri(&template).expect("no host is wanted");
            prop_assert!(uri.bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert_eq!(uri.matches('/').count(), 1);
        }
    }
}
