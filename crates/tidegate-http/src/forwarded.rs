//! `Forwarded` (RFC 7239) and the older `X-Forwarded-For`: reads the client behind trusted proxies, and writes the
//! element of this one. Knows nothing of which proxies are trusted.

use super::address;
use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One element of `Forwarded`: client, host and scheme.
pub fn element(client: Option<IpAddr>, host: &str, scheme: &str) -> String {
    let mut element = String::with_capacity(64 + host.len());
    match client.map(|client| client.to_canonical()) {
        // RFC 7239, section 6.3.
        None => element.push_str("for=unknown"),
        Some(client) => {
            // Section 6: an IPv6 address is in brackets, and therefore in quotes.
            let (before, behind) = if client.is_ipv6() { ("for=\"[", "]\"") } else { ("for=", "") };
            element.push_str(before);
            address::push_ip(&mut element, client);
            element.push_str(behind);
        }
    }
    if !host.is_empty() {
        element.push_str(";host=\"");
        // RFC 9110, section 5.6.4: a `"` or `\` would end the quoted string; a host has neither.
        match host.bytes().any(|byte| matches!(byte, b'"' | b'\\')) {
            true => element.extend(host.split(['"', '\\'])),
            false => element.push_str(host),
        }
        element.push('"');
    }
    element.push_str(";proto=");
    element.push_str(scheme);
    element
}

/// One parsed element of `Forwarded`: a proxy's report about its client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForwardedHop<'v> {
    /// The address in `for`; `None` for `unknown`, an obfuscated name, or a missing one.
    pub client: Option<IpAddr>,
    /// The `Host` that the proxy received.
    pub host: Option<Cow<'v, str>>,
    /// `http` or `https`.
    pub scheme: Option<&'static str>,
}

/// Maximum number of comma-separated pieces of one element: a comma within a quoted string is rare, and a client must
/// not be able to have each piece read many times.
const MAX_PIECES_PER_ELEMENT: usize = 4;

/// The hop at which the client connected to the first trusted proxy, as that proxy reports it (RFC 7239, section 4). The
/// list is read from its end: everything before the returned hop comes from untrusted clients, and cannot hide what
/// follows.
pub fn first_trusted_hop<'v>(
    fields: impl DoubleEndedIterator<Item = &'v str>,
    trusted: impl Fn(IpAddr) -> bool,
) -> Option<ForwardedHop<'v>> {
    let mut farthest: Option<ForwardedHop<'v>> = None;
    for mut field in fields.rev() {
        while let Some((rest, element)) = last_element(field) {
            field = rest;
            // RFC 9110, section 5.6.1.2: empty elements are ignored.
            if element.is_empty() {
                continue;
            }
            let Some(mut hop) = read_hop(element) else {
                return Some(farthest.unwrap_or_default());
            };
            let goes_on = hop.client.is_some_and(&trusted);
            // If a proxy does not name its client, the proxy itself counts as the client.
            hop.client = hop.client.or(farthest.and_then(|farthest| farthest.client));
            farthest = Some(hop);
            if !goes_on {
                return farthest;
            }
        }
    }
    farthest
}

/// Splits the last element off a list. Commas within a quoted string do not separate.
fn last_element(list: &str) -> Option<(&str, &str)> {
    if list.is_empty() {
        return None;
    }
    let mut end = list.len();
    for _ in 0..MAX_PIECES_PER_ELEMENT {
        let (rest, from) = list
            .get(..end)?
            .rfind(',')
            .map_or(("", 0), |comma| (list.get(..comma).unwrap_or_default(), comma + 1));
        let element = list.get(from..)?.trim();
        if from == 0 || is_balanced(element) {
            return Some((rest, element));
        }
        end = from - 1;
    }
    Some(("", list.trim()))
}

/// Whether each quoted string of an element ends in it.
fn is_balanced(element: &str) -> bool {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for byte in element.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            _ => {}
        }
    }
    !is_quoted
}

/// Reads one element; `None` when it is malformed.
fn read_hop(element: &str) -> Option<ForwardedHop<'_>> {
    let mut hop = ForwardedHop::default();
    let (mut has_client, mut rest) = (false, element);
    loop {
        let (name, behind) = rest.split_once('=')?;
        let (value, behind) = read_value(behind.trim_start())?;
        let name = name.trim();
        // Section 4: no parameter may occur twice.
        if name.eq_ignore_ascii_case("for") {
            if std::mem::replace(&mut has_client, true) {
                return None;
            }
            hop.client = parse_node(&value);
        } else if name.eq_ignore_ascii_case("proto") {
            hop.scheme = match hop.scheme {
                None => normal_scheme(&value),
                Some(_) => return None,
            };
        } else if name.eq_ignore_ascii_case("host") {
            match hop.host {
                None => hop.host = Some(value),
                Some(_) => return None,
            }
        }
        rest = match behind.trim_start() {
            "" => return Some(hop),
            more => more.strip_prefix(';')?,
        };
        if rest.trim().is_empty() {
            return Some(hop);
        }
    }
}

/// Reads a token or a quoted string (RFC 9110, section 5.6.4), and returns what follows it. An
/// IPv6 address without its quotes is taken for a token: some proxies forget them.
fn read_value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        let token = text.get(..end)?.trim_end();
        let is_token = !token.is_empty() && !token.contains(['"', ' ', '\t']);
        return is_token.then_some((Cow::Borrowed(token), text.get(end..)?));
    };
    let mut unescaped: Option<String> = None;
    let mut escape = None;
    for (index, c) in quoted.char_indices() {
        match c {
            _ if escape.take().is_some() => {
                unescaped.as_mut()?.push(c);
            }
            '\\' => {
                unescaped.get_or_insert_with(|| quoted.get(..index).unwrap_or_default().to_owned());
                escape = Some(());
            }
            '"' => {
                let value = match unescaped {
                    Some(value) => Cow::Owned(value),
                    None => Cow::Borrowed(quoted.get(..index)?),
                };
                return Some((value, quoted.get(index + 1..)?));
            }
            _ => {
                if let Some(value) = &mut unescaped {
                    value.push(c);
                }
            }
        }
    }
    None
}

/// `http` or `https`, from the name that a proxy uses for the scheme: Traefik reports `ws` and `wss` for WebSocket
/// handshakes.
pub fn normal_scheme(written: &str) -> Option<&'static str> {
    let is = |name: &str| written.eq_ignore_ascii_case(name);
    if is("https") || is("wss") {
        Some("https")
    } else if is("http") || is("ws") {
        Some("http")
    } else {
        None
    }
}

/// The last address of an `X-Forwarded-For` list that is not `trusted`: the client, as far as trusted proxies know. Empty
/// elements are ignored (RFC 9110, section 5.6.1.2). An unreadable element ends the list, because everything before it
/// is untrusted.
pub fn client<'v>(
    fields: impl DoubleEndedIterator<Item = &'v str>,
    trusted: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    let mut farthest = None;
    let elements = fields.rev().flat_map(|field| field.rsplit(',')).map(str::trim);
    for element in elements.filter(|element| !element.is_empty()) {
        let Some(address) = parse_node(element) else { break };
        farthest = Some(address);
        if !trusted(address) {
            break;
        }
    }
    farthest
}

/// An address with or without brackets and port; an IPv4-mapped IPv6 address becomes IPv4 (RFC 4291, section
/// 2.5.5.2).
fn parse_node(node: &str) -> Option<IpAddr> {
    let address = if let Ok(address) = node.parse::<IpAddr>() {
        address
    } else if let Some((literal, port)) = node.strip_prefix('[').and_then(|it| it.split_once(']')) {
        let has_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        literal.parse::<Ipv6Addr>().ok().filter(|_| has_port)?.into()
    } else {
        let (literal, port) = node.split_once(':')?;
        literal.parse::<Ipv4Addr>().ok().filter(|_| is_port(port))?.into()
    };
    Some(address.to_canonical())
}

/// A port, or an obfuscated one (RFC 7239, section 6.2).
fn is_port(written: &str) -> bool {
    let is_obfuscated = |rest: &str| {
        !rest.is_empty()
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    written.parse::<u16>().is_ok() || written.strip_prefix('_').is_some_and(is_obfuscated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc7239_6_ipv6_addresses_and_host_ports_are_quoted() {
        let v4 = "192.0.2.1".parse().expect("address");
        let v6 = "2001:db8::1".parse().expect("address");
        assert_eq!(element(Some(v4), "a:80", "http"), "for=192.0.2.1;host=\"a:80\";proto=http");
        assert_eq!(element(Some(v6), "", "https"), "for=\"[2001:db8::1]\";proto=https");
    }

    #[test]
    fn nearest_untrusted_address_is_the_client() {
        let trusted = |address: IpAddr| address.to_string().starts_with("10.");
        let find = |fields: &[&'static str]| client(fields.iter().copied(), trusted);
        let address = |text: &str| text.parse::<IpAddr>().ok();
        assert_eq!(find(&["6.6.6.6, 1.2.3.4, 10.0.0.1"]), address("1.2.3.4"));
        assert_eq!(find(&["1.2.3.4", "10.0.0.1"]), address("1.2.3.4"));
        assert_eq!(find(&["10.0.0.2, 10.0.0.1"]), address("10.0.0.2"));
        assert_eq!(find(&["[2001:db8::1]:4711"]), address("2001:db8::1"));
        assert_eq!(find(&["unknown"]), None);
        assert_eq!(find(&["1.2.3.4, unknown, 10.0.0.1"]), address("10.0.0.1"));
        assert_eq!(find(&["10.0.0.3, \u{fffd}", "1.2.3.4, 10.0.0.1"]), address("1.2.3.4"));
        assert_eq!(find(&[]), None);
    }

    fn hop_of(
        fields: &[&'static str],
    ) -> Option<(Option<String>, Option<&'static str>, Option<String>)> {
        let trusted = |address: IpAddr| address.to_string().starts_with("10.");
        let hop = first_trusted_hop(fields.iter().copied(), trusted)?;
        Some((hop.client.map(|it| it.to_string()), hop.scheme, hop.host.map(Cow::into_owned)))
    }

    #[test]
    fn rfc7239_4_hop_of_the_client_gives_address_scheme_and_host() {
        for (fields, client, scheme, host) in [
            (
                &["for=1.2.3.4;proto=https;host=a.test"][..],
                Some("1.2.3.4"),
                Some("https"),
                Some("a.test"),
            ),
            (&["For=\"[2001:DB8::7]:4711\" ; Proto=WSS"], Some("2001:db8::7"), Some("https"), None),
            (&["for=[2001:db8::7];proto=ws"], Some("2001:db8::7"), Some("http"), None),
            (&["for=1.2.3.4;proto=https, for=10.0.0.1"], Some("1.2.3.4"), Some("https"), None),
            (
                &["for=1.2.3.4;proto=https", "for=10.0.0.1;proto=http"],
                Some("1.2.3.4"),
                Some("https"),
                None,
            ),
            (
                &["for=6.6.6.6;proto=https, for=1.2.3.4;proto=http"],
                Some("1.2.3.4"),
                Some("http"),
                None,
            ),
            (&[", for=1.2.3.4, ,", ""], Some("1.2.3.4"), None, None),
            (&["for=\"1.2.3.4:_x\""], Some("1.2.3.4"), None, None),
            (&["for=\"::ffff:1.2.3.4\""], Some("1.2.3.4"), None, None),
            (&["for=_hidden;proto=https"], None, Some("https"), None),
            (&["for=unknown"], None, None, None),
            (&["for=_hidden;proto=https, for=10.0.0.1"], Some("10.0.0.1"), Some("https"), None),
            (&["proto=https;by=10.0.0.1"], None, Some("https"), None),
            (&["host=\"a\\\"b\";for=1.2.3.4"], Some("1.2.3.4"), None, Some("a\"b")),
            (&["for=1.2.3.4;x=\"a, b\";proto=https"], Some("1.2.3.4"), Some("https"), None),
        ] {
            let expected = (client.map(str::to_owned), scheme, host.map(str::to_owned));
            assert_eq!(hop_of(fields), Some(expected), "{fields:?}");
        }
        assert_eq!(hop_of(&[]), None);
        assert_eq!(hop_of(&["", " , "]), None);
    }

    #[test]
    fn forged_elements_do_not_hide_the_hop_of_the_client() {
        for stranger in
            ["for=\"6.6.6.6", "\"", "for=6.6.6.6;x=\"\\", "=", ";;", "for=for=", ",,,,,\",\","]
        {
            let list = format!("{stranger}, for=1.2.3.4;proto=http");
            let hop = first_trusted_hop([&*list].into_iter(), |_| false).expect("a hop");
            assert_eq!(hop.client, "1.2.3.4".parse().ok(), "{list}");
            assert_eq!(hop.scheme, Some("http"), "{list}");
        }
        // Nor does a malformed element let the one before it speak for the client.
        for malformed in ["for=1.2.3.4;for=1.2.3.5", "for", "for=1.2.3.4 x", "x=\"a"] {
            let list = format!("for=6.6.6.6;proto=https, {malformed}");
            let hop = first_trusted_hop([&*list].into_iter(), |_| false).expect("a hop");
            assert_ne!(hop.client, "6.6.6.6".parse().ok(), "{list}");
            assert_ne!(hop.scheme, Some("https"), "{list}");
        }
    }

    #[test]
    fn rfc4291_2_5_5_2_mapped_ipv4_is_ipv4_and_empty_elements_are_ignored() {
        let find = |list: &'static str| client([list].into_iter(), |_| false);
        for list in [
            "::ffff:1.2.3.4",
            "[::ffff:1.2.3.4]:4711",
            "1.2.3.4,",
            "1.2.3.4:80, ,",
            "[::ffff:102:304]",
        ] {
            assert_eq!(find(list), "1.2.3.4".parse().ok(), "{list}");
        }
        assert_eq!(find(" , "), None);
    }
}
