//! Warnings about files that other users of the machine may read or write. Reads permissions only, and no content.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tidegate_config::{
    self as config, AuthenticationScheme, Config, CoreValue, Kind, Node, ProblemCollector, Sources,
    Span, Spanned,
};
use tidegate_config::{UpstreamTls, UpstreamTlsSetting};
use tidegate_disk::is_trusted;
use tidegate_http::secret::{is_secret_path, without_userinfo};

/// The mode bit with which every user of the machine may write.
const OTHERS_WRITE: u32 = 0o002;

/// Only its owner may replace a file in a folder, whoever else may write there.
const STICKY_BIT: u32 = 0o1000;

/// The mode bit with which every user of the machine may read.
const OTHERS_READ: u32 = 0o004;

/// Files that others on this machine may read or write, and should not.
pub(super) fn review(config: &Config, sources: &Sources, problems: &mut ProblemCollector) {
    review_config_files(sources, problems);
    trusted_files(config, sources, problems);
    review_error_pages(config, sources, problems);
    review_private_keys(config, sources, problems);
    state_dir(config, sources, problems);
}

/// The name of a warning, the reason, and what to do.
type FileWarning = (&'static str, String, String);

/// A warning if a user other than the operator may change a file or folder.
fn warn_if_writable_by_others(path: &Path, is_folder: bool) -> Option<FileWarning> {
    if let Some(fault) = writable_by_all(path, is_folder) {
        return Some(fault);
    }
    let of = fs::metadata(path).ok()?;
    let shown = path.display();
    (!is_trusted(of.uid())).then(|| {
        let reason = format!("{shown} belongs to another user, who can change the content");
        ("foreign-file", reason, format!("`chown root {shown}`, or give it to the gateway's user"))
    })
}

/// A warning if every user may change a file or folder.
fn writable_by_all(path: &Path, is_folder: bool) -> Option<FileWarning> {
    let mode = permission_bits(path)?;
    // In a folder such as `/tmp` nobody may replace what is another's.
    let is_open = mode & OTHERS_WRITE != 0 && !(is_folder && mode & STICKY_BIT != 0);
    is_open.then(|| {
        let shown = path.display();
        let reason = format!("every user of this machine can write to {shown}");
        ("writable-configuration", reason, format!("`chmod o-w {shown}`"))
    })
}

/// The permissions of a file, if it exists.
fn permission_bits(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|problems| problems.mode())
}

fn review_config_files(sources: &Sources, problems: &mut ProblemCollector) {
    let mut readable = BTreeSet::new();
    let mut folders = BTreeSet::new();
    for (number, (path, _)) in (0_u16..).zip(sources.files()) {
        let Some(mode) = permission_bits(path) else { continue };
        if mode & OTHERS_READ != 0 {
            readable.insert(number);
        }
        let span = Span { file: number, line: 1, column: 1 };
        let mut warn = |(code, reason, help): FileWarning| {
            problems.warn(code, span, "", reason).help(help);
        };
        if let Some(fault) = warn_if_writable_by_others(path, false) {
            warn(fault);
        }
        // Whoever may write in its folder may put another in its place.
        let folder =
            path.parent().map(|it| if it.as_os_str().is_empty() { Path::new(".") } else { it });
        if let Some(folder) = folder.filter(|folder| folders.insert(folder.to_path_buf()))
            && let Some(fault) = warn_if_writable_by_others(folder, true)
        {
            warn(fault);
        }
    }
    if let Some(tree) = sources.tree() {
        secrets(&tree, "", &readable, problems);
    }
}

/// Secrets in a file that every user may read. The depth of the tree is bounded.
fn secrets(node: &Node, key_path: &str, readable: &BTreeSet<u16>, problems: &mut ProblemCollector) {
    match &node.kind {
        Kind::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                secrets(item, &format!("{key_path}[{index}]"), readable, problems);
            }
        }
        Kind::Mapping(entries) => {
            for (key, value) in entries {
                let key_path = if key_path.is_empty() {
                    key.text.clone()
                } else {
                    format!("{key_path}.{}", key.text)
                };
                secrets(value, &key_path, readable, problems);
                let Kind::Scalar(scalar) = &value.kind else { continue };
                let is_written = scalar.resolve() == CoreValue::String
                    && !scalar.text.is_empty()
                    && !scalar.is_expanded();
                let is_secret =
                    is_secret_path(&key_path) || without_userinfo(&scalar.text) != scalar.text;
                if is_written && is_secret && readable.contains(&value.span.file) {
                    let reason = "this value is secret, and every user of this machine can read \
                                  the file";
                    problems
                        .warn("readable-secret", value.span, key_path, reason)
                        .help("`chmod o-r` the file, or move the value into a variable: `${NAME}`");
                }
            }
        }
        Kind::Scalar(_) => {}
    }
}

/// Files that decide which certificates and credentials the gateway trusts, and where it sends requests.
fn trusted_files(config: &Config, sources: &Sources, problems: &mut ProblemCollector) {
    let mut check_file = |file: &Spanned<String>, key_path: String| {
        let path = sources.folder(file.span).join(&file.value);
        if let Some((code, reason, help)) = warn_if_writable_by_others(&path, false) {
            problems.warn(code, file.span, key_path, reason).help(help);
        }
    };
    for (number, listener) in config.listeners.iter().enumerate() {
        let Some(tls) = &listener.tls else { continue };
        for (index, certificate) in tls.certificates.iter().enumerate() {
            check_file(
                &certificate.cert,
                format!("listeners[{number}].tls.certificates[{index}].cert"),
            );
        }
        if let Some(ca) = tls.client_auth.as_ref().map(|auth| &auth.ca) {
            check_file(ca, format!("listeners[{number}].tls.client_auth.ca"));
        }
    }
    for (name, scheme) in &config.authentication {
        match &scheme.value {
            AuthenticationScheme::ApiKeys(keys) => {
                check_file(&keys.file, format!("authentication.{name}.api_keys.file"));
            }
            AuthenticationScheme::Basic(basic) => {
                check_file(&basic.file, format!("authentication.{name}.basic.file"));
            }
            _ => {}
        }
    }
    for (name, upstream) in &config.upstreams {
        if let Some(file) = &upstream.endpoints_file {
            check_file(file, format!("upstreams.{name}.endpoints_file"));
        }
        if let Some(UpstreamTlsSetting::Settings(UpstreamTls { ca: Some(ca), .. })) =
            upstream.tls.as_ref().map(|tls| &tls.value)
        {
            check_file(ca, format!("upstreams.{name}.tls.ca"));
        }
    }
}

/// Files that clients get. They often belong to another user, who deploys them.
fn review_error_pages(config: &Config, sources: &Sources, problems: &mut ProblemCollector) {
    let mut check_file = |path: &Spanned<String>, is_folder: bool, key_path: String| {
        let shown = sources.folder(path.span).join(&path.value);
        if let Some((code, reason, help)) = writable_by_all(&shown, is_folder) {
            problems.warn(code, path.span, key_path, reason).help(help);
        }
    };
    let config::ErrorPages { pages, json, .. } = &config.error_pages;
    for (key, pages) in [("pages", pages), ("json", json)] {
        for (status, page) in pages {
            check_file(page, false, format!("error_pages.{key}.{}", status.as_str()));
        }
    }
    for (index, route) in config.routes.iter().enumerate() {
        if let Some(files) = &route.files {
            check_file(&files.root, true, format!("routes[{index}].files.root"));
        }
    }
}

fn review_private_keys(config: &Config, sources: &Sources, problems: &mut ProblemCollector) {
    let mut check_file = |key: &Spanned<String>, key_path: String| {
        let path = sources.folder(key.span).join(&key.value);
        let can = match permission_bits(&path) {
            Some(mode) if mode & OTHERS_WRITE != 0 => "write to",
            Some(mode) if mode & OTHERS_READ != 0 => "read",
            _ => {
                if let Some((code, reason, help)) = warn_if_writable_by_others(&path, false) {
                    problems.warn(code, key.span, key_path, reason).help(help);
                }
                return;
            }
        };
        let reason =
            format!("every user of this machine can {can} the private key {}", path.display());
        problems
            .warn("readable-key", key.span, key_path, reason)
            .help(format!("`chmod o= {}`", path.display()));
    };
    for (number, listener) in config.listeners.iter().enumerate() {
        let certificates = listener.tls.iter().flat_map(|tls| &tls.certificates).enumerate();
        for (index, certificate) in certificates {
            let key_path = format!("listeners[{number}].tls.certificates[{index}].key");
            check_file(&certificate.key, key_path);
        }
    }
    for (name, upstream) in &config.upstreams {
        let Some(UpstreamTlsSetting::Settings(UpstreamTls {
            client_certificate: Some(pair), ..
        })) = upstream.tls.as_ref().map(|tls| &tls.value)
        else {
            continue;
        };
        check_file(&pair.key, format!("upstreams.{name}.tls.client_certificate.key"));
    }
}

fn state_dir(config: &Config, sources: &Sources, problems: &mut ProblemCollector) {
    let Some(written) = &config.state_dir else { return };
    let path = sources.folder(written.span).join(&written.value);
    if permission_bits(&path).is_some_and(|mode| mode & OTHERS_WRITE != 0) {
        let reason = "every user of this machine can write to this folder, which holds keys and \
                      versions of the configuration";
        problems
            .warn("open-state-dir", written.span, "state_dir", reason)
            .help(format!("`chmod 700 {}`", path.display()));
    }
}
