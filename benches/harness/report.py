"""Figures as Markdown."""

TITLES = {
    "http": "HTTP: CPU time per request",
    "instructions": "HTTP: instructions per request, in user space",
    "ws": "WebSocket: CPU time per echoed message",
    "memory": "WebSocket: memory per idle tunnel",
    "memory-tls": "WebSocket by TLS: memory per idle tunnel",
    "https": "HTTPS, HTTP/1.1 kept alive: CPU time per request",
    "h2": "HTTPS, HTTP/2: CPU time per request",
    "handshakes": "HTTPS: CPU time per full handshake with one request",
    "routes": "Routes: CPU time per request",
}

MEMORY = ("memory", "memory-tls")


def markdown(result):
    machine = result["machine"]
    load = ", ".join(map(str, machine["load_cores"]))
    parts = [
        "# Tidegate's benchmarks",
        "",
        f"{result['date']} · {machine['cpu']}, {machine['cores']} cores · Linux {machine['kernel']} · "
        f"proxy on core {machine['proxy_core']}, load and upstream on {load} · "
        f"load average at the start {machine['load_average']:.2f}",
        "",
        "Versions: " + (", ".join(f"{name} {version}" for name, version in result["versions"].items()) or "none"),
    ]
    for name, reason in result["missing"].items():
        parts += ["", f"**Missing: {name}**: {reason}"]
    for kind, measure in result["measures"].items():
        parts += ["", f"## {TITLES[kind]}", "", *table(kind, measure), *remarks(kind, measure)]
    # The figures of a short run say nothing.
    targets = [] if result["short"] else [line for kind, measure in result["measures"].items() for line in goals(kind, measure["rows"])]
    if targets:
        parts += ["", "## Targets", "", *targets]
    return "\n".join(parts) + "\n"


def table(kind, measure):
    rounds = f"{measure['rounds']} rounds"
    if kind in MEMORY:
        against = "× nginx" if kind == "memory-tls" else "× bare Pingora"
        head = ["proxy", f"kB per tunnel (median of {rounds})", "least to most", against,
                "MB before", f"MB with {measure['tunnels']} tunnels", "kB of the kernel per tunnel"]
    elif kind == "instructions":
        head = ["proxy", "instructions per request", "× bare Pingora"]
    else:
        unit = "message" if kind == "ws" else "request"
        others = {"routes": "× 10 routes", "https": "× nginx", "h2": "× nginx", "handshakes": "× nginx"}
        against = others.get(kind, "× bare Pingora")
        head = ["proxy", f"µs per {unit} (median of {rounds} of {measure['seconds']:g} s)", "least to most", against,
                f"{unit}s/s", "core used", "p50 ms", "p99 ms"]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    for row in measure["rows"]:
        lines.append("| " + " | ".join(cells(kind, row, len(head))) + " |")
    return lines


def cells(kind, row, width):
    if "median" not in row:
        return [row["title"], f"failed: {row.get('problem', 'not measured')}".replace("|", "\\|"), *[""] * (width - 2)]
    median, ratio = row["median"], f"{row['ratio']:.2f}" if "ratio" in row else "–"
    if kind in MEMORY:
        return [row["title"], f"{median['tunnel_bytes'] / 1e3:.1f}", f"{row['low'] / 1e3:.1f} to {row['high'] / 1e3:.1f}",
                ratio, f"{median['before_bytes'] / 1e6:.1f}", f"{median['after_bytes'] / 1e6:.1f}",
                f"{median['kernel_bytes'] / 1e3:.1f}"]
    if kind == "instructions":
        return [row["title"], f"{median['instructions']:,.0f}", ratio]
    return [row["title"], f"{median['cpu_us']:.2f}", f"{row['low']:.2f} to {row['high']:.2f}", ratio,
            f"{median['per_second']:.0f}", f"{median['core_share']:.0%}",
            f"{median['p50_us'] / 1e3:.2f}", f"{median['p99_us'] / 1e3:.2f}"]


def remarks(kind, measure):
    if kind in (*MEMORY, "instructions"):
        return []
    rounds = [each for row in measure["rows"] for each in row["rounds"]]
    disturbed = sum(each["foreign_share"] + each["steal_share"] > 0.05 for each in rounds)
    if not disturbed:
        return []
    return ["", f"In {disturbed} of {len(rounds)} rounds others took more than 5 % of the proxy's core: "
                "repeat this on a quiet machine."]


def goals(kind, rows):
    """What is promised, against what was measured."""
    by_name = {row["name"]: row for row in rows if "median" in row}
    full = by_name.get("tidegate-full")

    def line(text, value, limit, unit=""):
        return f"- {text}: {value:.2f}{unit}, to be at most {limit:.2f}{unit}: **{'met' if value <= limit else 'MISSED'}**"

    lines = []
    if kind == "http" and full:
        if "ratio" in full:
            lines.append(line("CPU per request, full, against bare Pingora of Cargo's default profile", full["ratio"], 1.0, "×"))
        for peer in ("envoy", "caddy"):
            if peer in by_name:
                limit = by_name[peer]["median"]["cpu_us"]
                lines.append(line(f"CPU per request, full, below {by_name[peer]['title']}", full["median"]["cpu_us"], limit, " µs"))
    if kind == "routes" and "ratio" in by_name.get("routes-10000", {}):
        lines.append(line("CPU per request of 10,000 routes against 10", by_name["routes-10000"]["ratio"], 1.05, "×"))
    sessions = by_name.get("tidegate-sessions")
    if kind == "ws" and sessions and "ratio" in sessions:
        lines.append(line("CPU per message, every feature of sessions on, against bare Pingora", sessions["ratio"], 1.1, "×"))
    if kind == "memory" and sessions:
        lines.append(line("Memory per idle tunnel, every feature of sessions on", sessions["median"]["tunnel_bytes"] / 1e3, 48, " kB"))
    if kind == "memory" and full:
        lines.append(line("Memory per idle tunnel, full", full["median"]["tunnel_bytes"] / 1e3, 50, " kB"))
    return lines
