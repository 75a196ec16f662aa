//! Writes a draft as readable YAML: separate sections, short lists on one line, comments at their lines. It does not know
//! where a draft comes from.

mod value;

use super::draft::{
    Action, Balance, Changes, Clients, Compression, Cors, Draft, Ejection, Endpoint, Files,
    Listener, PathRule, RateLimit, RateLimitBy, Retry, Route, Scheme, Upstream,
};
use value::{Map, Value, literal, literals, pairs_map, plain, text, write_entry, write_map};

/// The draft as a file; `origin` says what it was made from.
pub(crate) fn write(draft: &Draft, origin: &str) -> String {
    let mut out = format!("# Converted by `tidegate import` from {origin}.\n");
    let mut section = |name: &str, comment: &[String], value: Value| {
        out.push('\n');
        for line in comment {
            out.push_str(&format!("# {line}\n"));
        }
        write_entry(&mut out, name, &value, 0);
    };
    if !draft.trusted_proxies.is_empty() {
        section("trusted_proxies", &[], literals(&draft.trusted_proxies));
    }
    if let Some((size, comment)) = &draft.body_size {
        let limits = Map::single_entry("body_size", size_of(*size));
        section("limits", std::slice::from_ref(comment), Value::Map(limits));
    }
    if !draft.user_id.is_empty() {
        let sources =
            draft.user_id.iter().map(|key| Value::Map(Map::single_entry("query", literal(key))));
        let identity = Map::single_entry("user_id", Value::List(sources.collect()));
        section("identity", &[], Value::Map(identity));
    }
    if !draft.authentication.is_empty() {
        let mut map = Map::default();
        for (name, written) in &draft.authentication {
            map.insert(name, scheme(written));
        }
        section("authentication", &[], Value::Map(map));
    }
    if let Some(written) = &draft.cors {
        section("cors", &written.comment, cors(written));
    }
    if let Some(written) = &draft.compression {
        section("compression", &[], compression(written));
    }
    out.push_str("\nlisteners:\n");
    for written in &draft.listeners {
        commented_item(&mut out, &written.comment, &listener(written));
    }
    if !draft.upstreams.is_empty() {
        out.push_str("\nupstreams:\n");
        for written in &draft.upstreams {
            for line in &written.comment {
                out.push_str(&format!("  # {line}\n"));
            }
            out.push_str("  ");
            write_entry(&mut out, &written.name, &upstream(written), 2);
        }
    }
    out.push_str(if draft.routes.is_empty() { "\nroutes: []\n" } else { "\nroutes:\n" });
    for (number, written) in draft.routes.iter().enumerate() {
        if number > 0 {
            out.push('\n');
        }
        out.push_str(&format!("  # {}\n", written.position));
        commented_item(&mut out, &written.comment, &route(written));
    }
    out
}

fn commented_item(out: &mut String, comment: &[String], map: &Map) {
    for line in comment {
        out.push_str(&format!("  # {line}\n"));
    }
    out.push_str("  - ");
    write_map(out, map, 4, true);
}

fn size_of(bytes: u64) -> Value {
    plain(match bytes {
        bytes if bytes > 0 && bytes % (1 << 30) == 0 => format!("{}GiB", bytes >> 30),
        bytes if bytes > 0 && bytes % (1 << 20) == 0 => format!("{}MiB", bytes >> 20),
        bytes if bytes > 0 && bytes % (1 << 10) == 0 => format!("{}KiB", bytes >> 10),
        bytes => bytes.to_string(),
    })
}

fn listener(written: &Listener) -> Map {
    let mut map = Map::single_entry("address", text(&written.address));
    if let Some(port) = written.redirect_to {
        let to = match port {
            443 => plain("on"),
            port => Value::Map(Map::single_entry("port", plain(port))),
        };
        map.insert("redirect_to_https", to);
    }
    if let Some(tls) = &written.tls {
        let mut inside = Map::default();
        let pairs = tls.certificates.iter().map(|(cert, key)| {
            let mut pair = Map::single_entry("cert", literal(cert));
            pair.insert("key", literal(key));
            Value::Map(pair)
        });
        match tls.certificates.is_empty() {
            true => inside.insert("self_signed", plain(true)),
            false => inside.insert("certificates", Value::List(pairs.collect())),
        }
        if let Some(version) = tls.min_version {
            inside.insert("min_version", plain(format!("{version:?}")));
        }
        map.insert("tls", Value::Map(inside));
        if tls.h1_only {
            map.insert("protocols", plain("[h1]"));
        }
    }
    map
}

fn scheme(written: &Scheme) -> Value {
    let mut map = Map::default();
    let kind = match written {
        Scheme::Basic { file, realm, forward } => {
            map.insert("file", literal(file));
            map.insert("realm", literal(realm));
            if *forward {
                map.insert("forward", plain("on"));
            }
            "basic"
        }
        Scheme::Forward { url, send, take, timeout, ca } => {
            map.insert("url", literal(url));
            if let Some(send) = send {
                map.insert("send", literals(send));
            }
            if !take.is_empty() {
                map.insert("take", literals(take));
            }
            map.insert("timeout", plain(timeout));
            if let Some(ca) = ca {
                map.insert("ca", literal(ca));
            }
            "forward"
        }
    };
    Value::Map(Map::single_entry(kind, Value::Map(map)))
}

fn clients(written: &Clients) -> Value {
    let mut map = Map::default();
    for (key, networks) in [("allow", &written.allow), ("deny", &written.deny)] {
        if !networks.is_empty() {
            map.insert(key, literals(networks));
        }
    }
    Value::Map(map)
}

fn cors(written: &Cors) -> Value {
    let mut map = Map::default();
    map.insert("allow_origins", Value::List(written.origins.iter().map(text).collect()));
    for (key, list) in [
        ("allow_methods", &written.methods),
        ("allow_headers", &written.allow_headers),
        ("expose_headers", &written.expose_headers),
    ] {
        if !list.is_empty() {
            map.insert(key, literals(list));
        }
    }
    if written.credentials {
        map.insert("allow_credentials", plain(true));
    }
    if let Some(seconds) = written.max_age {
        map.insert("max_age", plain(format!("{seconds}s")));
    }
    Value::Map(map)
}

fn compression(written: &Compression) -> Value {
    let mut map = Map::default();
    if !written.algorithms.is_empty() {
        map.insert("algorithms", literals(&written.algorithms));
    }
    if !written.types.is_empty() {
        map.insert("types", literals(&written.types));
    }
    if let Some(size) = written.min_size {
        map.insert("min_size", size_of(size));
    }
    if let Some(level) = written.gzip_level {
        map.insert("levels", Value::Map(Map::single_entry("gzip", plain(level))));
    }
    if map.is_empty() { plain("on") } else { Value::Map(map) }
}

fn upstream(written: &Upstream) -> Value {
    let mut map = Map::single_entry(
        "endpoints",
        Value::List(written.endpoints.iter().map(endpoint).collect()),
    );
    match &written.balance {
        None => {}
        Some(Balance::LeastRequests) => map.insert("balance", plain("least_requests")),
        Some(Balance::StickyCookie(name)) => {
            map.insert("balance", Value::Map(Map::single_entry("sticky_cookie", literal(name))));
        }
        Some(hash) => {
            let key = match hash {
                Balance::HashHeader(name) => Value::Map(Map::single_entry("header", literal(name))),
                Balance::HashCookie(name) => Value::Map(Map::single_entry("cookie", literal(name))),
                _ => plain("client_address"),
            };
            map.insert("balance", Value::Map(Map::single_entry("hash", key)));
        }
    }
    match &written.ejection {
        None => {}
        Some(Ejection::Off) => map.insert("ejection", plain("off")),
        Some(Ejection::After { failures, duration }) => {
            let mut ejection = Map::single_entry("connect_failures", plain(failures));
            ejection.insert("duration", plain(duration));
            map.insert("ejection", Value::Map(ejection));
        }
    }
    if let Some(path) = &written.health {
        let check = Value::Map(Map::single_entry("http", literal(path)));
        map.insert("health", Value::Map(Map::single_entry("check", check)));
    }
    match &written.tls {
        None => {}
        Some(None) => map.insert("tls", plain("on")),
        Some(Some(name)) => {
            map.insert("tls", Value::Map(Map::single_entry("server_name", literal(name))));
        }
    }
    if written.h2c {
        map.insert("protocols", plain("[h2c]"));
    }
    if let Some(time) = &written.idle_timeout {
        map.insert("idle_timeout", plain(time));
    }
    Value::Map(map)
}

fn endpoint(written: &Endpoint) -> Value {
    if written.weight == 1 && !written.backup {
        return text(&written.address);
    }
    let mut map = Map::single_entry("address", text(&written.address));
    if written.weight != 1 {
        map.insert("weight", plain(written.weight));
    }
    if written.backup {
        map.insert("backup", plain(true));
    }
    Value::Map(map)
}

fn route(written: &Route) -> Map {
    let mut map = Map::single_entry("name", literal(&written.name));
    map.insert("match", matches(written));
    match &written.action {
        Action::Upstream(name) => map.insert("upstream", literal(name)),
        Action::Redirect(status, to) => {
            let mut redirect = Map::single_entry("to", literal(to));
            redirect.insert("status", plain(status));
            map.insert("redirect", Value::Map(redirect));
        }
        Action::Respond { status, body, content_type } => {
            let mut respond = Map::single_entry("status", plain(status));
            if let Some(body) = body {
                respond.insert("body", literal(body));
            }
            if let Some(content_type) = content_type {
                respond.insert("content_type", literal(content_type));
            }
            map.insert("respond", Value::Map(respond));
        }
        Action::Files(written) => map.insert("files", files(written)),
    }
    if let Some(written) = &written.clients {
        map.insert("clients", clients(written));
    }
    if let Some(name) = &written.require {
        map.insert("require", literal(name));
    }
    let mut rewrite = Map::default();
    if let Some(prefix) = &written.prefix {
        rewrite.insert("prefix", literal(prefix));
    }
    if let Some(host) = &written.host {
        rewrite.insert("host", literal(host));
    }
    if !rewrite.is_empty() {
        map.insert("rewrite", Value::Map(rewrite));
    }
    if !written.websocket && matches!(written.action, Action::Upstream(_)) {
        map.insert("websocket", plain("off"));
    }
    let mut timeouts = Map::default();
    let times = &written.timeouts;
    for (key, time) in [
        ("connect", &times.connect),
        ("read", &times.read),
        ("write", &times.write),
        ("request", &times.request),
    ] {
        if let Some(time) = time {
            timeouts.insert(key, plain(time));
        }
    }
    if !timeouts.is_empty() {
        map.insert("timeouts", Value::Map(timeouts));
    }
    if let Some(size) = written.max_body_size {
        map.insert("max_body_size", size_of(size));
    }
    if !written.rate_limits.is_empty() {
        let limits = written.rate_limits.iter().map(rate_limit);
        map.insert("rate_limits", Value::List(limits.collect()));
    }
    match &written.retry {
        None => {}
        Some(Retry::Off) => map.insert("retry", plain("off")),
        Some(Retry::On { on, attempts }) => {
            let mut retry = Map::single_entry("on", Value::List(on.iter().map(plain).collect()));
            if let Some(attempts) = attempts {
                retry.insert("attempts", plain(attempts));
            }
            map.insert("retry", Value::Map(retry));
        }
    }
    let mut headers = Map::default();
    for (key, changed) in [("request", &written.request), ("response", &written.response)] {
        if !changed.is_empty() {
            headers.insert(key, changes(changed));
        }
    }
    if !headers.is_empty() {
        map.insert("headers", Value::Map(headers));
    }
    match &written.compression {
        None => {}
        Some(None) => map.insert("compression", plain("off")),
        Some(Some(written)) => map.insert("compression", compression(written)),
    }
    if let Some(written) = &written.cors {
        map.insert("cors", cors(written));
    }
    map
}

fn rate_limit(written: &RateLimit) -> Value {
    let mut limit = Map::single_entry("requests", plain(written.requests));
    limit.insert("per", plain(&written.per));
    limit.insert("burst", plain(written.burst));
    let by = match &written.by {
        RateLimitBy::ClientAddress => plain("client_address"),
        RateLimitBy::All => plain("all"),
        RateLimitBy::Header(name) => Value::Map(Map::single_entry("header", literal(name))),
        RateLimitBy::Cookie(name) => Value::Map(Map::single_entry("cookie", literal(name))),
    };
    limit.insert("by", by);
    Value::Map(limit)
}

fn matches(written: &Route) -> Value {
    let mut map = Map::default();
    if !written.hosts.is_empty() {
        map.insert("hosts", literals(&written.hosts));
    }
    match &written.path {
        PathRule::Exact(path) => map.insert("path", literal(path)),
        PathRule::Prefix(path) => map.insert("path_prefix", literal(path)),
    }
    if !written.methods.is_empty() {
        map.insert("methods", literals(&written.methods));
    }
    for (key, pairs) in [("headers", &written.match_headers), ("query", &written.match_query)] {
        if !pairs.is_empty() {
            map.insert(key, pairs_map(pairs));
        }
    }
    Value::Map(map)
}

fn files(written: &Files) -> Value {
    let mut map = Map::single_entry("root", literal(&written.root));
    for (key, value) in [
        ("index", &written.index),
        ("fallback", &written.fallback),
        ("cache_control", &written.cache_control),
    ] {
        if let Some(value) = value {
            map.insert(key, literal(value));
        }
    }
    Value::Map(map)
}

fn changes(written: &Changes) -> Value {
    let mut map = Map::default();
    if !written.set.is_empty() {
        map.insert("set", pairs_map(&written.set));
    }
    if !written.add.is_empty() {
        map.insert("add", pairs_map(&written.add));
    }
    if !written.remove.is_empty() {
        map.insert("remove", literals(&written.remove));
    }
    Value::Map(map)
}
