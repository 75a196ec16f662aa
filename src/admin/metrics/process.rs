//! Metrics of the process, under the names that Prometheus' client libraries use, and of the build. Reads `/proc`, and
//! knows nothing of requests.

use super::exposition::{Exposition, MetricKind};
use crate::background;

pub(super) fn write(to: &mut Exposition) {
    let labels = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("revision", option_env!("TIDEGATE_REVISION").unwrap_or("unknown")),
        ("features", &features()),
    ];
    to.family("tidegate_build_info", MetricKind::Gauge, "Always 1; the labels describe the build.")
        .write_sample(&labels, 1);
    write_panics(to);
    #[cfg(target_os = "linux")]
    let _ = write_process(to);
}

/// Background tasks that have panicked.
fn write_panics(to: &mut Exposition) {
    let panics = background::panics();
    let down = panics
        .iter()
        .filter(|(_, panics)| panics.state == background::PanickedTaskState::Down)
        .count();
    let help = "Background tasks that have panicked and not started again.";
    to.family("tidegate_tasks_down", MetricKind::Gauge, help).write_sample(&[], down);
    if !panics.is_empty() {
        let mut family =
            to.family("tidegate_task_panics", MetricKind::Counter, "Panics of background tasks.");
        for (task, panics) in &panics {
            family.write_sample(&[("task", task)], panics.count);
        }
    }
}

/// The cargo features of this build.
fn features() -> String {
    let features = [
        (cfg!(feature = "demo"), "demo"),
        (cfg!(feature = "discovery"), "discovery"),
        (cfg!(feature = "import-express"), "import-express"),
        (cfg!(feature = "jemalloc"), "jemalloc"),
        (cfg!(feature = "opentelemetry"), "opentelemetry"),
        (cfg!(feature = "valkey"), "valkey"),
    ];
    let built: Vec<_> = features.iter().filter(|(is_in, _)| *is_in).map(|it| it.1).collect();
    built.join(",")
}

/// Memory, CPU time and descriptors of the process; stops early where `/proc` is missing.
#[cfg(target_os = "linux")]
fn write_process(to: &mut Exposition) -> Option<()> {
    use procfs::process::{LimitValue, Process};

    let process = Process::myself().ok()?;
    let stat = process.stat().ok()?;
    let ticks = procfs::ticks_per_second() as f64;
    let help = "User and system CPU time of the process.";
    to.family("process_cpu_seconds", MetricKind::Counter, help)
        .write_sample(&[], (stat.utime + stat.stime) as f64 / ticks);
    let memory = stat.rss * rustix::param::page_size() as u64;
    to.family(
        "process_resident_memory_bytes",
        MetricKind::Gauge,
        "Resident memory of the process.",
    )
    .write_sample(&[], memory);
    to.family("process_virtual_memory_bytes", MetricKind::Gauge, "Virtual memory of the process.")
        .write_sample(&[], stat.vsize);
    to.family("process_threads", MetricKind::Gauge, "Threads of the process.")
        .write_sample(&[], stat.num_threads);
    to.family("process_open_fds", MetricKind::Gauge, "Open file descriptors of the process.")
        .write_sample(&[], process.fd_count().ok()?);
    if let LimitValue::Value(most) = process.limits().ok()?.max_open_files.soft_limit {
        to.family(
            "process_max_fds",
            MetricKind::Gauge,
            "Maximum number of open file descriptors of the process.",
        )
        .write_sample(&[], most);
    }
    let since = procfs::boot_time_secs().ok()? as f64 + stat.starttime as f64 / ticks;
    to.family("process_start_time_seconds", MetricKind::Gauge, "Start time of the process.")
        .write_sample(&[], since);
    Some(())
}
