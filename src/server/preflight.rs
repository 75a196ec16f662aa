//! Finds what would make a start fail on this machine: sockets and folders that cannot be used. Binds and creates
//! nothing.

use super::HandoverSocket;
use super::socket;
use crate::acme;
use crate::history::History;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use tidegate_config::{Config, ProblemCollector, Sources};
use tidegate_disk::PrivateFolder;
use tidegate_http::address::Address;

/// The help for a problem that depends on the user who runs the command.
const RUN_AS_GATEWAY_HELP: &str = "run `tidegate check` as the user that the gateway runs as";

/// Adds to `problems` which sockets could not be made and which folders could not be used. `file` is
/// the configuration file.
pub(crate) fn preflight(
    config: &Config,
    sources: &Sources,
    file: Option<&Path>,
    problems: &mut ProblemCollector,
) {
    check_sockets(config, problems);
    upgrade_socket(config, problems);
    state_dir(config, sources, file, problems);
}

fn check_sockets(config: &Config, problems: &mut ProblemCollector) {
    let listeners = config.listeners.iter().enumerate();
    let listeners =
        listeners.map(|(index, it)| (format!("listeners[{index}].address"), &it.address));
    let admin = config.admin.iter().map(|it| ("admin.address".to_owned(), &it.address));
    let mut seen = BTreeSet::new();
    for (key, written) in listeners.chain(admin) {
        let Address::Unix(path) = &written.0 else { continue };
        // That two claim one path is an error of its own.
        if seen.insert(path.clone())
            && let Err(error) = socket::can_bind(Path::new(&**path))
        {
            problems
                .add(written.span, key, format!("cannot create the Unix socket {path}: {error}"))
                .help(help_for(&error, Path::new(&**path)));
        }
    }
}

fn upgrade_socket(config: &Config, problems: &mut ProblemCollector) {
    let Some(written) = &config.upgrade_socket else { return };
    let path = Path::new(written.as_str());
    let handover_socket = HandoverSocket::locate(Some(path), None).filter(|_| path.is_absolute());
    if let Some(Err(error)) =
        handover_socket.map(|handover_socket| handover_socket.check_bindable())
    {
        let reason = format!("`tidegate upgrade` would fail: {error}");
        problems.add(written.span, "upgrade_socket", reason);
    }
}

/// Checks `state_dir`. Without it the gateway runs, but stores no versions and orders no certificates.
fn state_dir(
    config: &Config,
    sources: &Sources,
    file: Option<&Path>,
    problems: &mut ProblemCollector,
) {
    let Some(written) = &config.state_dir else { return };
    let root = sources.folder(written.span).join(&written.value);
    let history = History::folder(file);
    let history = history.each_ref().map(String::as_str);
    let mut secured = config.listeners.iter().filter_map(|listener| listener.tls.as_ref());
    let orders = secured.any(|tls| tls.acme.is_some());
    let found = PrivateFolder::check_openable(&root, &history)
        .map_err(|error| ("cannot store versions of the configuration", error))
        .and_then(|()| match orders {
            true => PrivateFolder::check_openable(&root, &[acme::ACME_FOLDER])
                .map_err(|error| ("cannot store certificates", error)),
            false => Ok(()),
        });
    if let Err((what, error)) = found {
        let problem = problems.add(written.span, "state_dir", format!("{what}: {error}"));
        if error.kind() == io::ErrorKind::PermissionDenied {
            problem.help(RUN_AS_GATEWAY_HELP);
        }
    }
}

fn help_for(error: &io::Error, path: &Path) -> String {
    match (error.kind(), path.parent()) {
        (io::ErrorKind::NotFound, Some(folder)) => format!("`mkdir -p {}`", folder.display()),
        (io::ErrorKind::PermissionDenied, _) => RUN_AS_GATEWAY_HELP.to_owned(),
        _ => "use another path".to_owned(),
    }
}
