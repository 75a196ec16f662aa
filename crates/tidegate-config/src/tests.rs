//! Tests of reading, of the schema and of the generated pages. They know nothing of the gateway.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration as Time, Instant};

fn read(yaml: &str) -> LoadedConfig {
    read_str_with(
        yaml,
        "t.yaml",
        &Variables::from_iter([("PORT", "4009"), ("N", "3"), ("S", "hush: [")]),
        &FilterSchemas::default(),
    )
}

/// `line:column path: reason` of each problem.
fn problems(yaml: &str) -> Vec<String> {
    let described =
        |p: &Problem| format!("{}:{} {}: {}", p.line(), p.column(), p.path(), p.reason());
    read(yaml).problems.iter().map(described).collect()
}

#[test]
fn ratio_outside_its_bounds_is_refused() {
    for (written, expected) in [
        ("0.25", None),
        ("1", None),
        ("${R:-1e-3}", None),
        ("1.5", Some("`1.5`: must be at most 1")),
        ("-1", Some("`-1`: must be at least 0")),
        (".nan", Some("expected a number, found a string")),
        ("half", Some("expected a number, found a string")),
    ] {
        let yaml = format!("tracing:\n  sample:\n    ratio: {written}\n");
        let expected = expected.map(|reason| format!("3:12 tracing.sample.ratio: {reason}"));
        assert_eq!(problems(&yaml), Vec::from_iter(expected), "{written}");
    }
}

#[test]
fn all_problems_are_reported_at_once_with_positions() {
    let yaml = "\
listeners:
  - address: :3000
    protocls: [h1]
threads: 0
upstreams:
  api: {endpoints: [\"http://127.0.0.1:4009/x\"]}
  api: {endpoints: []}
  empty: {endpoints: []}
  none: {health: {}}
identity: {user_id: [{qery: userId}]}
routes:
  - name: 7
    match: {path_prefix: api, methods: [get], hosts: [\"a:80\"]}
    upstream: api
    websocket: of
    timeouts: {read: 30, write: soon}
  - nme: b
    upstream: [api]
";
    assert_eq!(
        problems(yaml),
        [
            "2:14 listeners[0].address: `:3000`: the IP address before the port is missing; write \
             `0.0.0.0:3000`",
            "3:5 listeners[0].protocls: unknown key",
            "4:10 threads: `0`: must be at least 1",
            "6:21 upstreams.api.endpoints[0]: `http://127.0.0.1:4009/x`: an endpoint is `host:port` \
             without `http://`; write `127.0.0.1:4009`",
            "7:3 : duplicate key `api`; its first value is in line 6",
            "8:22 upstreams.empty.endpoints: the list must not be empty",
            "9:18 upstreams.none.health.check: the required key `check` is missing",
            "10:23 identity.user_id[0].qery: unknown key",
            "12:11 routes[0].name: expected a string, found a number",
            "13:26 routes[0].match.path_prefix: `api`: a path must begin with `/`",
            "13:41 routes[0].match.methods[0]: `get`: methods are case-sensitive; write `GET`",
            "13:55 routes[0].match.hosts[0]: `a:80`: a host must not contain a port here; write `a`",
            "15:16 routes[0].websocket: `of` is not one of `on`, `off` or a mapping",
            "16:22 routes[0].timeouts.read: `30`: a duration needs a unit: write `30s` for seconds",
            "16:33 routes[0].timeouts.write: `soon`: not a duration; write it like `30s`, `10m`, `1h 30m` or `250ms`",
            "17:5 routes[1].nme: unknown key",
            "18:15 routes[1].upstream: expected a string, found a list",
        ]
    );
}

#[test]
fn host_that_no_request_can_have_is_refused() {
    for host in ["a..b", "a..", ".a", "*..a", "*.a..", ".", "[zz]", "[::1]:1"] {
        let yaml = format!("routes: [{{match: {{hosts: ['{host}', a, A.b., '*.c.d', '[::1]']}}}}]");
        let problems = problems(&yaml);
        let of_hosts: Vec<_> = problems.iter().filter(|it| it.contains("hosts")).collect();
        assert_eq!(of_hosts.len(), 1, "{host}: {problems:?}");
        assert!(of_hosts[0].contains("hosts[0]"), "{host}: {problems:?}");
    }
}

#[test]
fn methods_that_reach_no_route_and_host_patterns_are_refused() {
    for method in ["CONNECT", "TRACE", "connect"] {
        let problems = problems(&format!("routes: [{{match: {{methods: [GET, {method}]}}}}]"));
        let described =
            problems.iter().filter(|it| it.contains("methods[1]") && it.contains("405"));
        assert_eq!(described.count(), 1, "{problems:?}");
    }
    for (host, is_good) in [
        ("*", false),
        ("*.", false),
        ("*.b", false),
        ("a..b", false),
        ("a*b", false),
        ("a:", false),
        (":80", false),
        ("a,b", false),
        ("api.example:8080", true),
        ("[::1]:80", true),
        ("a_b", true),
    ] {
        let problems = problems(&format!("routes: [{{rewrite: {{host: '{host}'}}}}]"));
        let is_refused = problems.iter().any(|it| it.contains("rewrite.host"));
        assert_eq!(is_refused, !is_good, "{host}: {problems:?}");
    }
}

#[test]
fn duration_over_100_years_is_refused() {
    for written in ["500000000000y", "400000000000y", "101y", "100y 1ns"] {
        assert_eq!(
            problems(&format!("shutdown: {{grace: {written}}}")).first().map(String::as_str),
            Some(&*format!(
                "1:19 shutdown.grace: `{written}`: a duration must not exceed 100 years (`100y`)"
            ))
        );
    }
    assert!(!problems("shutdown: {grace: 100y}").iter().any(|it| it.contains("shutdown")));
}

#[test]
fn misspelt_key_or_value_gets_a_suggestion() {
    let shown =
        read("listners: []\nroutes: [{name: a, upstream: b, websocket: oof}]").problems.to_string();
    assert!(shown.contains("t.yaml:1:1: error: listners: unknown key"), "{shown}");
    assert!(shown.contains("help: did you mean `listeners`?"), "{shown}");
    assert!(shown.contains("help: did you mean `off`?"), "{shown}");
    assert!(shown.contains("    1 | listners: []\n      | ^\n"), "{shown}");
    assert!(shown.ends_with("2 problems in t.yaml"), "{shown}");
}

#[test]
fn columns_are_counted_in_characters() {
    assert_eq!(problems("{\"log\": {ü: 1}}"), ["1:10 log.ü: unknown key"]);
    assert_eq!(
        problems("log: {format: \"ü\", levl: x}").last().unwrap().split(' ').next(),
        Some("1:20")
    );
}

#[test]
fn every_yaml_spelling_of_off_turns_websockets_off() {
    for written in ["off", "Off", "OFF", "false", "no", "\"off\"", "'false'"] {
        let config =
            read(&format!("routes: [{{name: a, upstream: b, websocket: {written}}}]")).config;
        let setting = config.routes[0].websocket.clone().map(|setting| setting.value);
        assert!(matches!(setting, Some(WebSocketSetting::Switch(Switch(false)))), "{written}");
    }
}

#[test]
fn variables_are_filled_in_and_their_values_never_shown() {
    let config = read("threads: ${N}\nupstreams: {a: {endpoints: ['h:${PORT}', '${NONE:-i}:1']}}");
    assert!(config.problems.is_empty(), "{}", config.problems);
    assert_eq!(config.config.threads, Some(3));
    assert_eq!(problems("threads: ${UNSET_VARIABLE_OF_A_TEST}").len(), 1);
    assert_eq!(
        problems("log: {level: '${S}'}")[0],
        "1:14 log.level: the variable's value is not one of `error`, `warn`, `info`, `debug`, `trace`"
    );
    assert!(!read("log: {level: '${S}'}").problems.to_string().contains("hush"));
    assert_eq!(read("access_log: {path: 'a$$b'}").problems.iter().count(), 0);
    // What a variable holds is a value, never structure.
    assert_eq!(problems("access_log: {path: '${S}'}"), [""; 0]);
}

#[test]
fn included_files_add_routes_and_upstreams() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    fs::create_dir(folder.path().join("conf.d")).unwrap();
    write(
        "main.yaml",
        "include: [conf.d/*.yaml]\nroutes: [{name: a, upstream: u}]\nupstreams: {u: {endpoints: ['h:1']}}",
    );
    write(
        "conf.d/2.yaml",
        "routes: [{name: c, upstream: u}]\nlog: {level: debug}\nupstreams: {u: {endpoints: ['i:1']}}",
    );
    write(
        "conf.d/1.yaml",
        "routes:\n  - {name: b, upstream: v, nme: x}\nupstreams: {v: {endpoints: ['h:1']}}",
    );
    let read = read_with(
        &folder.path().join("main.yaml"),
        &Variables::default(),
        &FilterSchemas::default(),
    );
    let names: Vec<&str> = read.config.routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let shown = read.problems.to_string();
    assert!(shown.contains("conf.d/1.yaml:2:28: error: routes[1].nme"), "{shown}");
    assert!(
        shown.contains("conf.d/2.yaml:2:1: error: log: `log` is not allowed in an included file"),
        "{shown}"
    );
    assert!(
        shown.contains("conf.d/2.yaml:3:13: error: upstreams.u: duplicate name `u`"),
        "{shown}"
    );
    assert_eq!(read.sources.watched().len(), 3);
}

#[test]
fn missing_or_binary_file_is_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.yaml");
    assert_eq!(
        read_with(&path, &Variables::default(), &FilterSchemas::default()).problems.iter().count(),
        1
    );
    fs::write(&path, b"\xff\xfe\xff").unwrap();
    assert!(
        read_with(&path, &Variables::default(), &FilterSchemas::default())
            .problems
            .to_string()
            .contains("not UTF-8")
    );
    assert_eq!(problems("a: [1, 2").len(), 1);
    assert_eq!(problems("log: {}\n---\nlog: {}").len(), 1);
    assert_eq!(problems("a: &a {<<: *a}").len(), 1);
    assert!(problems("- 1\n- 2")[0].contains("expected a mapping, found a list"));
}

#[test]
fn hostile_yaml_of_one_mebibyte_is_refused_in_bounded_time() {
    const SIZE: usize = 1 << 20;
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..12 {
        let before = level - 1;
        let items = vec![format!("*a{before}"); 10].join(",");
        bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    let hostile = [
        ("alias bomb", bomb),
        (
            "long scalar, many aliases",
            format!("a: &x {}\nb: [{}]", "y".repeat(SIZE / 2), "*x,".repeat(SIZE / 8)),
        ),
        (
            "depth by aliases",
            (1..200).fold("a0: &a0 [x]\n".to_owned(), |yaml, n| {
                format!("{yaml}a{n}: &a{n} [*a{}]\n", n - 1)
            }),
        ),
        ("flow depth", "[".repeat(SIZE)),
        ("mapping depth", "{a: ".repeat(SIZE / 4)),
        ("block depth", "- ".repeat(SIZE / 2)),
        ("many keys", (0..SIZE / 10).map(|n| format!("k{n}: 1\n")).collect()),
        ("one key", format!("{}: 1", "k".repeat(SIZE))),
        ("many anchors", (0..SIZE / 16).map(|n| format!("- &a{n} *a{n}\n")).collect()),
        ("quotes", "\"".repeat(SIZE)),
        ("question marks", "? ".repeat(SIZE / 2)),
        ("tags", "! ".repeat(SIZE / 2)),
        ("spaces", " ".repeat(SIZE)),
        ("tabs", "\t".repeat(SIZE)),
        ("variables", format!("log: {{level: \"{}\"}}", "${A:-".repeat(SIZE / 5))),
        ("unknown keys in a list", format!("routes: [{}]", "{nme: a},".repeat(SIZE / 9))),
    ];
    for (name, yaml) in hostile {
        let start = Instant::now();
        let problems = read(&yaml).problems;
        assert!(!problems.is_empty() || yaml.trim().is_empty(), "{name}");
        // A guard against quadratic time, which would be minutes.
        assert!(start.elapsed() < Time::from_secs(90), "{name}: {:?}", start.elapsed());
        drop(problems.to_string());
    }
}

#[test]
fn every_value_format_accepts_its_own_example() {
    for (format, example) in values::EXAMPLES {
        assert_eq!(values::check_format(format, example), Some(Ok(())), "{format}");
    }
}

/// `TIDEGATE_BLESS=1 cargo test` writes the files anew.
#[test]
fn generated_schema_and_reference_in_the_repository_are_current() {
    let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    for (file, made) in [
        ("schema/tidegate.schema.json", format!("{:#}\n", json_schema())),
        ("docs/configuration.md", reference_markdown()),
    ] {
        if std::env::var_os("TIDEGATE_BLESS").is_some() {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), &made).unwrap();
        }
        let kept = fs::read_to_string(root.join(file)).unwrap_or_default();
        assert!(kept == made, "{file} is out of date: run TIDEGATE_BLESS=1 cargo test --lib");
    }
}

/// Keys that no example needs, and why.
const WITHOUT_EXAMPLE: [(&str, &str); 3] = [
    ("filters", "the examples run in the gateway's own program, which registers no filter"),
    ("routes[].filters", "the same"),
    (
        "authentication.NAME.ext_authz",
        "the default build refuses it; its keys are those of `forward`",
    ),
];

#[test]
fn every_key_appears_in_an_example() {
    let schema = json_schema();
    let conf = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("conf");
    let mut files = vec![conf.join("tidegate.yaml")];
    let listed = fs::read_dir(conf.join("examples")).unwrap().map(|entry| entry.unwrap().path());
    files.extend(listed.filter(|path| path.extension().is_some_and(|it| it == "yaml")));
    let trees: Vec<_> = files
        .iter()
        .map(|file| yaml::parse_tree(&fs::read_to_string(file).unwrap()).expect("YAML"))
        .collect();
    let keys = Keys { schema: &schema };
    let (mut known, mut shown) = (BTreeSet::new(), BTreeSet::new());
    keys.walk(&schema, "", None, &mut known);
    for tree in &trees {
        keys.walk(&schema, "", Some(tree), &mut shown);
    }
    assert!(known.len() > 250 && known.contains("routes[].match.headers.NAME.present"));
    for (key, _) in WITHOUT_EXAMPLE {
        assert!(known.remove(key) && !shown.contains(key), "{key}: no exception is needed");
        let below = format!("{key}.");
        known.retain(|other| !other.starts_with(&below));
    }
    // `require` is the same type at both places, of which a file has only one place to look for the user.
    let shown: BTreeSet<String> = shown
        .iter()
        .flat_map(|key| [key.clone(), key.replacen("routes[].require.", "require.", 1)])
        .flat_map(|key| [key.replacen("require.", "routes[].require.", 1), key])
        .collect();
    let missing: Vec<_> = known.difference(&shown).collect();
    assert!(missing.is_empty(), "in no example of conf/examples: {missing:#?}");
}

/// The keys of a schema, by their paths.
struct Keys<'s> {
    schema: &'s serde_json::Value,
}

impl<'s> Keys<'s> {
    /// What a value may be: unions taken apart, references followed.
    fn alternatives(&self, schema: &'s serde_json::Value) -> Vec<&'s serde_json::Value> {
        if let Some(name) = schema.get("$ref").and_then(|it| it.as_str()) {
            return self.alternatives(&self.schema["$defs"][name.rsplit('/').next().unwrap()]);
        }
        match schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(|it| it.as_array()) {
            Some(union) => union.iter().flat_map(|one| self.alternatives(one)).collect(),
            None => vec![schema],
        }
    }

    /// Collects all keys below; where there is a value, only those that stand in it.
    fn walk(
        &self,
        schema: &'s serde_json::Value,
        path: &str,
        value: Option<&Node>,
        keys: &mut BTreeSet<String>,
    ) {
        for one in self.alternatives(schema) {
            if let Some(items) = one.get("items") {
                let path = format!("{path}[]");
                match value.map(|value| &value.kind) {
                    None => self.walk(items, &path, None, keys),
                    Some(Kind::Sequence(list)) => {
                        list.iter().for_each(|item| self.walk(items, &path, Some(item), keys));
                    }
                    Some(_) => {}
                }
            }
            if let Some(values) = one.get("additionalProperties").filter(|it| it.is_object()) {
                let path = format!("{path}.NAME");
                match value.map(|value| &value.kind) {
                    None => self.walk(values, &path, None, keys),
                    Some(Kind::Mapping(map)) => {
                        map.iter().for_each(|(_, it)| self.walk(values, &path, Some(it), keys));
                    }
                    Some(_) => {}
                }
            }
            for (name, property) in
                one.get("properties").and_then(|it| it.as_object()).into_iter().flatten()
            {
                let inner = value.map(|value| value.get(name));
                if matches!(inner, Some(None)) {
                    continue;
                }
                // Nothing here holds itself, so this ends.
                let at = format!("{path}.{name}").trim_start_matches('.').to_owned();
                self.walk(property, &at, inner.flatten(), keys);
                keys.insert(at);
            }
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_text_does_not_panic(yaml in "[a-z:{}\\[\\]&*!|>'\"%@`#,?\\- \n\t$]{0,80}") {
        drop(read(&yaml).problems.to_string());
    }

    #[test]
    fn damaged_configuration_does_not_panic(cut in 0..2000_usize, put in "\\PC{0,3}") {
        let mut yaml = include_str!("../../../conf/tidegate.yaml").to_owned();
        let cut = (0..=cut.min(yaml.len())).rev().find(|&at| yaml.is_char_boundary(at)).unwrap_or(0);
        yaml.insert_str(cut, &put);
        drop(read(&yaml).problems.to_string());
        yaml.truncate(cut);
        drop(read(&yaml).problems.to_string());
    }
}
