"""The measures. Each takes the proxies that are there and returns rows for the report."""

import json
import re
import ssl
import statistics
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from http.client import HTTPConnection

from . import machine, processes, proxies
from .processes import Failed

CONNECTIONS = 50
ORIGIN = "http://localhost:5173"
PATH = "/api/notification?userId=user-1"
BODY = b'{"id":"n-1","text":"Connection successful"}'
YARDSTICKS = ("bare", "routes-10")
TLS_YARDSTICK = "nginx"


class Series:
    """The rounds of one proxy: named figures, one value a round."""

    def __init__(self, proxy):
        self.proxy = proxy
        self.rounds = []
        self.problem = None

    def row(self, yardstick, figure):
        row = {"name": self.proxy.name, "title": self.proxy.title, "rounds": self.rounds}
        if self.problem:
            row["problem"] = self.problem
        if self.rounds and not self.problem:
            row["median"] = {key: statistics.median(r[key] for r in self.rounds) for key in self.rounds[0]}
            values = [r[figure] for r in self.rounds]
            row["low"], row["high"] = min(values), max(values)
            if yardstick and yardstick.rounds and not yardstick.problem:
                pairs = zip(self.rounds, yardstick.rounds)
                # By pairs of one round: what slows the machine slows both.
                row["ratio"] = statistics.median(mine[figure] / its[figure] for mine, its in pairs)
        return row


def http(chosen, tools, folder, options):
    with upstream_http(tools, folder) as upstream_port:
        def measure(running, seconds):
            return wrk(tools, running, upstream_port, seconds, folder)

        return alternate(chosen, folder, upstream_port, options, measure, "cpu_us", check_http)


def https(chosen, tools, folder, options):
    with upstream_http(tools, folder) as upstream_port:
        def measure(running, seconds):
            return wrk(tools, running, upstream_port, seconds, folder)

        return alternate(proxies.by_tls(chosen), folder, upstream_port, options, measure, "cpu_us", check_http)


def handshakes(chosen, tools, folder, options):
    """A full handshake, one request, and the end, again and again; wrk resumes no session."""
    with upstream_http(tools, folder) as upstream_port:
        def measure(running, seconds):
            return wrk(tools, running, upstream_port, seconds, folder, close=True)

        return alternate(proxies.by_tls(chosen), folder, upstream_port, options, measure, "cpu_us", check_http)


def h2(chosen, tools, folder, options):
    with upstream_http(tools, folder) as upstream_port:
        def measure(running, seconds):
            return h2load(tools, running, seconds)

        return alternate(proxies.by_tls(chosen), folder, upstream_port, options, measure, "cpu_us", check_http)


def h2load(tools, running, seconds):
    command = [tools["h2load"], "-t1", "-c10", "-m10", f"-D{max(1, round(seconds))}",
               f"https://127.0.0.1:{running.port}{PATH}"]
    before = snapshot(running)
    process = processes.start(command, set(machine.LOAD_CORES), subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        output = process.communicate(timeout=seconds + 30)[0].decode()
    finally:
        processes.stop(process)
    done = re.search(r"requests: .* (\d+) succeeded, (\d+) failed, (\d+) errored", output)
    if not done or not int(done.group(1)) or int(done.group(2)):
        raise Failed(f"h2load failed: {output[-300:]!r}")
    middle = re.search(r"time for request: +\S+ +(\S+?)(us|ms|s) +(\S+?)(us|ms|s)", output)
    scale = {"us": 1, "ms": 1e3, "s": 1e6}
    # It tells the mean and no percentile: both columns have it and the longest.
    longest, mean = (float(middle.group(i)) * scale[middle.group(i + 1)] for i in (1, 3))
    return {**since(before, running, int(done.group(1))), "p50_us": mean, "p99_us": longest}


def routes(chosen, tools, folder, options):
    with upstream_http(tools, folder) as upstream_port:
        def measure(running, seconds):
            script = folder / f"{running.proxy.name}.lua"
            script.write_text(ROUTES_LUA % {"count": running.proxy.routes - 1})
            return wrk(tools, running, upstream_port, seconds, folder, script)

        return alternate(chosen, folder, upstream_port, options, measure, "cpu_us", check_http)


def instructions(chosen, tools, folder, options):
    """Counted, not timed: the same on every machine and however busy it is. User space only."""
    few, many = (5, 25) if options.short else (500, 2500)
    if options.short:
        # The worker processes of others can't be counted, and need not be.
        chosen = [proxy for proxy in chosen if proxy.name.startswith("tidegate")]
    series = [Series(proxy) for proxy in chosen]
    with upstream_http(tools, folder) as upstream_port:
        for each in series:
            with problem_of(each):
                counts = [counted(each.proxy, tools, folder, upstream_port, requests) for requests in (few, many)]
                if counts[1] - counts[0] < many:
                    raise Failed("its workers are processes of their own, which callgrind does not follow")
                each.rounds.append({"instructions": (counts[1] - counts[0]) / (many - few)})
                tell(f"{each.proxy.name}: {each.rounds[-1]['instructions']:,.0f} instructions a request")
    return rows(series, "instructions")


def counted(proxy, tools, folder, upstream_port, requests):
    output = folder / f"callgrind-{proxy.name}-{requests}"
    wrap = [tools["valgrind"], "--tool=callgrind", f"--callgrind-out-file={output}"]
    running = proxies.Running(proxy, folder, upstream_port, wrap)
    try:
        connection = HTTPConnection("127.0.0.1", running.port, timeout=30)
        token = None
        for number in range(requests):
            if token is None or proxy.tokens == "fresh":
                token = running.token(number)
            headers = {"Origin": ORIGIN, **({"Authorization": f"Bearer {token}"} if token else {})}
            connection.request("GET", PATH, headers=headers)
            if connection.getresponse().read() != BODY:
                raise Failed("another body came back")
        connection.close()
    finally:
        processes.stop(running.process, patience=20)
    return int(re.search(r"^(?:summary|totals): (\d+)", output.read_text(), re.M).group(1))


def ws(chosen, tools, folder, options):
    with upstream_echo(tools, folder) as upstream_port:
        def measure(running, seconds):
            with WsLoad(tools, running.port, CONNECTIONS, seconds, folder) as load:
                before = snapshot(running)
                report = load.go()
                figures = since(before, running, report["messages"])
            return {**figures, "p50_us": report["p50_us"], "p99_us": report["p99_us"]}

        return alternate(chosen, folder, upstream_port, options, measure, "cpu_us", lambda running: None)


def memory(chosen, tools, folder, options):
    """A fresh process each round: what an allocator keeps must not serve the next."""
    series = [Series(proxy) for proxy in chosen]
    with upstream_echo(tools, folder) as upstream_port:
        for number in range(options.rounds):
            for each in series:
                if each.problem:
                    continue
                with problem_of(each):
                    each.rounds.append(tunnels(each.proxy, tools, folder, upstream_port, options.tunnels))
                    tell(f"round {number + 1}/{options.rounds} {each.proxy.name}: "
                         f"{each.rounds[-1]['tunnel_bytes'] / 1000:.1f} kB a tunnel")
    return rows(series, "tunnel_bytes")


def memory_tls(chosen, tools, folder, options):
    return memory(proxies.by_tls(chosen, own="tidegate-sessions"), tools, folder, options)


def tunnels(proxy, tools, folder, upstream_port, count):
    running = proxies.Running(proxy, folder, upstream_port)
    try:
        with entrance(running, tools) as port:
            with WsLoad(tools, port, 1, 0, folder) as load:
                load.go()
            time.sleep(1)
            before, slabs = running.resident_bytes(), machine.slab_bytes()
            with WsLoad(tools, port, count, 0, folder) as load:
                load.go()
                time.sleep(2)
                after, kernel = running.resident_bytes(), machine.slab_bytes() - slabs
        # Half of a tunnel's sockets are the proxy's: its clients and the upstream have the others,
        # and whoever adds TLS two more.
        kernel /= 3 if proxy.tls else 2
        return {"tunnel_bytes": (after - before) / count, "before_bytes": before, "after_bytes": after,
                "kernel_bytes": kernel / count}
    finally:
        running.stop()


@contextmanager
def entrance(running, tools):
    """The port by which clients without TLS reach a proxy, be it by TLS: HAProxy adds it then."""
    if not running.proxy.tls:
        yield running.port
        return
    port = processes.free_port()
    config, log_path = running.folder / "entrance.cfg", running.folder / "entrance.log"
    config.write_text(ENTRANCE % {"port": port, "behind": running.port})
    with open(log_path, "wb") as log:
        process = processes.start([tools["haproxy"], "-db", "-f", str(config)], set(machine.LOAD_CORES), log)
    try:
        processes.wait_for_port(process, port, log_path)
        yield port
    finally:
        processes.stop(process)


def alternate(chosen, folder, upstream_port, options, measure, figure, check):
    """Starts all, warms all, then A B C A B C …"""
    series = [Series(proxy) for proxy in chosen]
    running = {}
    try:
        for each in series:
            with problem_of(each):
                running[each] = proxies.Running(each.proxy, folder, upstream_port)
                check(running[each])
                measure(running[each], min(1, options.seconds))
        for number in range(options.rounds):
            for each in series:
                if each.problem:
                    continue
                with problem_of(each):
                    each.rounds.append(measure(running[each], options.seconds))
                    running[each].drop_access_log()
                    tell(f"round {number + 1}/{options.rounds} {each.proxy.name}: {each.rounds[-1][figure]:.2f} µs")
    finally:
        for one in running.values():
            one.stop()
    return rows(series, figure)


def rows(series, figure):
    names = (TLS_YARDSTICK,) if any(each.proxy.tls for each in series) else YARDSTICKS
    yardstick = next((each for each in series if each.proxy.name in names), None)
    return [each.row(yardstick, figure) for each in series]


@contextmanager
def problem_of(series):
    try:
        yield
    except (Failed, OSError, subprocess.SubprocessError) as error:
        series.problem = str(error)
        tell(f"{series.proxy.name}: {error}")


def snapshot(running):
    return time.monotonic(), running.cpu_seconds(), *machine.core_seconds(machine.PROXY_CORE)


def since(before, running, count):
    """CPU time per unit of work, and how its core was shared meanwhile."""
    if not count:
        raise Failed("nothing was served")
    wall, cpu, busy, steal = (now - then for now, then in zip(snapshot(running), before))
    return {
        "cpu_us": cpu / count * 1e6,
        "per_second": count / wall,
        "core_share": cpu / wall,
        "foreign_share": max(0.0, (busy - cpu) / wall),
        "steal_share": steal / wall,
    }


def check_http(running):
    url = f"{scheme(running)}://127.0.0.1:{running.port}{PATH}"
    request = urllib.request.Request(url, headers={"Origin": ORIGIN})
    anybody = ssl.create_default_context()
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=anybody)]
    opener = urllib.request.build_opener(*handlers)
    body = opener.open(request, timeout=10).read()
    if body != BODY:
        raise Failed(f"another body came back: {body[:80]!r}")


def wrk(tools, running, upstream_port, seconds, folder, script=None, close=False):
    command = [tools["wrk"], "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "--latency",
               "-H", f"Origin: {ORIGIN}"]
    if script:
        command += ["-s", str(script)]
    if close:
        command += ["-H", "Connection: close"]
    command.append(f"{scheme(running)}://127.0.0.1:{running.port}{PATH}")
    accepted = upstream_accepts(upstream_port)
    before = snapshot(running)
    with open(folder / "wrk.log", "wb") as log:
        process = processes.start(command, set(machine.LOAD_CORES), log, stdout=subprocess.PIPE)
    try:
        output = process.communicate(timeout=seconds + 30)[0].decode()
    finally:
        processes.stop(process)
    done = re.search(r"(\d+) requests in", output)
    if process.returncode or not done:
        raise Failed(f"wrk failed: {processes.last_line(folder / 'wrk.log')}")
    bad = re.search(r"Non-2xx or 3xx responses: \d+|Socket errors: .*", output)
    if bad:
        raise Failed(bad.group())
    count = int(done.group(1))
    figures = since(before, running, count)
    opened = upstream_accepts(upstream_port) - accepted - 1
    if opened > 4 * CONNECTIONS + count / 1000:
        raise Failed(f"no keep-alive to the upstream: {opened} connections for {count} requests")
    return {**figures, "p50_us": latency(output, "50"), "p99_us": latency(output, "99")}


def scheme(running):
    return "https" if running.proxy.tls else "http"


def latency(output, percent):
    value, unit = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s)$", output, re.M).groups()
    return float(value) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


def upstream_accepts(port):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    status = opener.open(f"http://127.0.0.1:{port}/upstream-status", timeout=5).read().decode()
    return int(status.splitlines()[2].split()[0])


@contextmanager
def upstream_http(tools, folder):
    port = processes.free_port()
    config = folder / "upstream.conf"
    config.write_text(proxies.fill("upstream.conf", port, 0, folder))
    with upstream([tools["nginx"], "-c", str(config)], port, folder):
        yield port


@contextmanager
def upstream_echo(tools, folder):
    port = processes.free_port()
    with upstream([tools["ws_echo"], f"127.0.0.1:{port}"], port, folder):
        yield port


@contextmanager
def upstream(command, port, folder):
    log_path = folder / "upstream.log"
    with open(log_path, "wb") as log:
        process = processes.start(command, set(machine.LOAD_CORES), log)
    try:
        processes.wait_for_port(process, port, log_path)
        yield
    finally:
        processes.stop(process)


class WsLoad:
    """The WebSocket load generator, connected and ready; `go` runs it and leaves its tunnels open."""

    def __init__(self, tools, port, connections, seconds, folder):
        self.log_path = folder / "ws_load.log"
        self.command = [tools["ws_load"], f"127.0.0.1:{port}", str(connections), str(seconds)]

    def __enter__(self):
        with open(self.log_path, "wb") as log:
            self.process = processes.start(self.command, set(machine.LOAD_CORES), log, stdin=subprocess.PIPE,
                                           stdout=subprocess.PIPE)
        self.line()
        return self

    def go(self):
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        report = json.loads(self.line())
        if report["lost"]:
            raise Failed(f"{report['lost']} tunnels lost: {processes.last_line(self.log_path)}")
        return report

    def line(self):
        """One line; the load generator bounds each of its own steps, so this ends."""
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"ws_load: {processes.last_line(self.log_path)}")
        return line

    def __exit__(self, *_):
        processes.stop(self.process)


def tell(text):
    print(f"# {text}", file=sys.stderr, flush=True)


ENTRANCE = """\
global
  maxconn 8000
defaults
  mode tcp
  timeout connect 10s
  timeout client 1h
  timeout server 1h
listen entrance
  bind 127.0.0.1:%(port)d backlog 4096
  server proxy 127.0.0.1:%(behind)d ssl verify none
"""

# Each request asks for the next of `count` routes; the requests are made before the clock runs.
ROUTES_LUA = """\
local requests, next_one = {}, 0
function init()
  for index = 1, %(count)d do
    local path = string.format("/api/service-%%05d/items?userId=user-1", index)
    requests[index] = wrk.format("GET", path)
  end
end
function request()
  next_one = next_one %% #requests + 1
  return requests[next_one]
end
"""
