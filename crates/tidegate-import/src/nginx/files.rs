//! `root`, `alias`, `try_files`, `index` and `expires` as a route that serves files. It does not know how routes are
//! matched.

use super::scope::BlockScope;
use super::values;
use crate::draft::{Action, Files, Route};
use crate::note::Notes;

/// Makes the route serve files, if the location has a `root` or an `alias`.
pub(super) fn set_files(
    route: &mut Route,
    scope: &BlockScope<'_>,
    location: &str,
    notes: &mut Notes,
) {
    let alias = scope.own_directives().iter().find(|directive| directive.name == "alias");
    let Some(root) = alias.or(scope.last("root")) else {
        return;
    };
    let folder = root.argument(0).unwrap_or_default();
    if folder.contains('$') {
        let text = format!(
            "`{folder}`: the folder contains a variable; requests for this location are \
             answered with 501"
        );
        notes.left_out(&root.position, text);
        route.action = super::access::respond(501);
        return;
    }
    if !folder.starts_with('/') {
        let text = "Tidegate resolves a relative folder from the folder of its configuration file";
        notes.changed(&root.position, text);
    }
    let mut files = Files { root: folder.to_owned(), ..Files::default() };
    if alias.is_some() {
        if folder.ends_with('/') != location.ends_with('/') {
            let text = "only one of folder and location ends with a slash: nginx joins them as text, \
                Tidegate adds the slash";
            notes.changed(&root.position, text);
        }
        route.prefix = Some("/".to_owned());
    }
    if let Some(index) = scope.last("index") {
        let first = index.arguments.first().cloned();
        if index.arguments.len() > 1 {
            notes.changed(&index.position, "only the first index file is used");
        }
        files.index = first.filter(|name| name != "index.html");
    }
    if let Some(tried) = scope.last("try_files") {
        let mut arguments = tried.arguments.iter().map(String::as_str);
        let last = arguments.next_back().unwrap_or_default();
        let is_usual = arguments.all(|it| matches!(it, "$uri" | "$uri/"));
        match last.trim_end_matches("$is_args$args").trim_end_matches("?$args") {
            fallback if is_usual && fallback.starts_with('/') && !fallback.contains('$') => {
                files.fallback = Some(fallback.to_owned());
                let text = format!(
                    "`{fallback}` is served for missing files only if the last segment of the path has \
                     no dot; others are answered with 404"
                );
                notes.changed(&tried.position, text);
            }
            "=404" | "$uri" | "$uri/" if is_usual => {}
            _ => notes.left_out(
                &tried.position,
                format!("`{}`: use `files.fallback` instead", tried.display()),
            ),
        }
    }
    files.cache_control = scope.last("expires").and_then(|expires| {
        let made = match expires.argument(0).unwrap_or_default() {
            "off" => return None,
            "epoch" | "-1" => Some("no-cache".to_owned()),
            "max" => Some("max-age=315360000".to_owned()),
            time => values::parse_milliseconds(time).map(|time| format!("max-age={}", time / 1000)),
        };
        if made.is_none() {
            notes.left_out(
                &expires.position,
                format!("`{}`: use `files.cache_control` instead", expires.display()),
            );
        }
        made
    });
    route.action = Action::Files(files);
}
