//! A strict parser of Prometheus' text format. It does not know the gateway's metrics.

use std::collections::{BTreeMap, BTreeSet};

/// Metrics, parsed by the rules of Prometheus' text format.
#[derive(Debug)]
pub struct Metrics {
    samples: BTreeMap<Key, f64>,
    kinds: BTreeMap<String, String>,
}

impl Metrics {
    /// Parses the text; panics if it breaks a rule.
    pub fn parse(text: &str) -> Self {
        let open = text.ends_with("\n# EOF\n");
        let text = text.strip_suffix("# EOF\n").unwrap_or(text);
        assert!(text.ends_with('\n'), "the last line ends");
        let (mut samples, mut kinds) = (BTreeMap::new(), BTreeMap::new());
        let (mut helped, mut done) = (BTreeSet::new(), BTreeSet::new());
        let mut current = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a help");
                assert!(helped.insert(name.to_owned()), "two helps: {line}");
                assert!(help.ends_with('.'), "a sentence: {line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                assert!(helped.contains(name), "no help: {line}");
                assert!(done.insert(name.to_owned()), "two types: {line}");
                assert_eq!(name.ends_with("_total"), kind == "counter" && !open, "{line}");
                assert!(
                    !["_sum", "_count", "_bucket"].iter().any(|it| name.ends_with(it)),
                    "{line}"
                );
                current = name.to_owned();
                kinds.insert(current.clone(), kind.to_owned());
            } else {
                assert!(!line.starts_with('#'), "{line}");
                let (key, value) = sample(line);
                let kind = kinds.get(&current).expect("a type").as_str();
                let suffix = key.0.strip_prefix(&current).expect("a sample of its family");
                let suffixes: &[&str] = match kind {
                    "counter" if open => &["_total"],
                    "counter" | "gauge" => &[""],
                    "histogram" => &["_bucket", "_sum", "_count"],
                    "summary" => &["_sum", "_count"],
                    other => panic!("{other}"),
                };
                assert!(suffixes.contains(&suffix), "{line}");
                let has_bound = key.1.iter().any(|(name, _)| name == "le");
                assert_eq!(has_bound, suffix == "_bucket", "{line}");
                assert!(kind == "gauge" || value >= 0.0, "{line}");
                assert!(samples.insert(key, value).is_none(), "twice: {line}");
            }
        }
        let metrics = Self { samples, kinds };
        metrics.check_histograms();
        metrics
    }

    fn check_histograms(&self) {
        let of = |kind: &str| {
            let kind = kind.to_owned();
            self.kinds.iter().filter(move |(_, it)| **it == kind).map(|(name, _)| name.clone())
        };
        for name in of("histogram") {
            let mut buckets: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
            let bucket = format!("{name}_bucket");
            for ((_, labels), count) in self.samples.iter().filter(|((it, _), _)| *it == bucket) {
                let (bound, rest): (Vec<_>, Vec<_>) =
                    labels.clone().into_iter().partition(|(name, _)| name == "le");
                let bound = bound[0].1.replace("+Inf", "inf").parse().expect("a bound");
                buckets.entry(rest).or_default().push((bound, *count));
            }
            for (labels, mut of) in buckets {
                of.sort_by(|a, b| a.0.total_cmp(&b.0));
                assert!(of.is_sorted_by(|a, b| a.1 <= b.1), "{name}: {of:?}");
                let (last, all) = *of.last().expect("a bucket");
                assert!(last.is_infinite());
                assert_eq!(self.samples[&(format!("{name}_count"), labels.clone())], all);
                assert!(self.samples.contains_key(&(format!("{name}_sum"), labels)));
            }
        }
    }

    /// The value of a sample, with its labels in any order; 0 if there is none.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let mut labels: Vec<_> =
            labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        labels.sort();
        self.samples.get(&(name.to_owned(), labels)).copied().unwrap_or_default()
    }

    /// All values of a label.
    pub fn values_of(&self, label: &str) -> BTreeSet<&str> {
        let labels = self.samples.keys().flat_map(|(_, labels)| labels);
        labels.filter(|(name, _)| name == label).map(|(_, value)| value.as_str()).collect()
    }
}

type Labels = Vec<(String, String)>;
type Key = (String, Labels);

fn sample(line: &str) -> (Key, f64) {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let end = line.find(['{', ' ']).expect("a name");
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"").expect("a label");
            assert!(is_name(label), "{line}");
            let (mut value, mut escaped, mut end) = (String::new(), false, None);
            for (at, c) in after.char_indices() {
                match (escaped, c) {
                    (true, 'n') => value.push('\n'),
                    (true, '"' | '\\') => value.push(c),
                    (true, _) => panic!("a wrong escape: {line}"),
                    (false, '\\') => {
                        escaped = true;
                        continue;
                    }
                    (false, '"') => {
                        end = Some(at);
                        break;
                    }
                    (false, _) => value.push(c),
                }
                escaped = false;
            }
            labels.push((label.to_owned(), value));
            rest = &after[end.expect("the end of a value") + 1..];
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => break,
            }
        }
        rest = rest.strip_prefix('}').expect("the end of the labels");
    }
    labels.sort();
    assert!(labels.windows(2).all(|pair| pair[0].0 != pair[1].0), "a label twice: {line}");
    let value = rest.strip_prefix(' ').expect("a value").split(" # ").next().expect("a value");
    ((name.to_owned(), labels), value.parse().expect("a number"))
}
