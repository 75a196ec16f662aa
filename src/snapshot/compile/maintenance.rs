//! Compiles `maintenance` into its filter. It knows nothing of requests.

use super::built_in::{BuiltIn, compiled};
use crate::filter::MaintenanceFilter;
use tidegate_config::{Maintenance, MaintenanceSetting, Spanned, defaults::maintenance};

pub(super) const FILTER: BuiltIn = BuiltIn {
    keys: &["maintenance"],
    for_all: |compiler| compiled(compiler.config.maintenance.as_ref().and_then(filter)),
    for_route: |_, route, inherited| match &route.written.maintenance {
        Some(setting) => compiled(filter(setting)),
        None => inherited,
    },
};

/// The filter that refuses requests, when there is maintenance.
fn filter(written: &Spanned<MaintenanceSetting>) -> Option<MaintenanceFilter> {
    let defaults = Maintenance::default();
    let written = match &written.value {
        MaintenanceSetting::Switch(switch) if !switch.0 => return None,
        MaintenanceSetting::Switch(_) => &defaults,
        MaintenanceSetting::Settings(settings) => settings,
    };
    if !written.enabled.unwrap_or(maintenance::ENABLED) {
        return None;
    }
    let retry_after = written.retry_after.unwrap_or(maintenance::RETRY_AFTER).0;
    let message = written.message.as_ref().map(|message| message.value.clone());
    Some(MaintenanceFilter {
        // A second too late does no harm, `0` would mean at once.
        retry_after: retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0),
        allow: written.allow.iter().map(|cidr| cidr.0).collect(),
        message: message.unwrap_or_else(|| maintenance::MESSAGE.to_owned()),
    })
}
