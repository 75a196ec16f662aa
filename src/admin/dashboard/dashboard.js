// The dashboard: asks the admin endpoint that it comes from, and shows what it says. All that comes from
// there is text, never markup: users and paths are what strangers send.

const SAMPLES = 120;
const SHOWN_SESSIONS = 200;
const SHOWN_LINES = 300;
const COLOURS = 6;

const $ = (id) => document.getElementById(id);
const make = (name, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
};
const cell = (text, className = "") => make("td", { textContent: text ?? "–", className, title: className === "long" ? text ?? "" : "" });

// ---- Asking and telling ----

const token = {
  get: () => sessionStorage.getItem("token") ?? "",
  set: (value) => sessionStorage.setItem("token", value),
};

async function ask(path) {
  const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(10_000) });
  const body = await response.json();
  if (!response.ok) throw new Error(body.error ?? response.statusText);
  return body;
}

async function tell(path, parameters) {
  const send = () => {
    const headers = token.get() ? { Authorization: `Bearer ${token.get()}` } : {};
    return fetch(`${path}?${new URLSearchParams(parameters)}`, { method: "POST", headers });
  };
  let response = await send();
  if (response.status === 401 && (await askForToken())) response = await send();
  const body = await response.json();
  if (!response.ok) throw new Error(body.error ?? response.statusText);
  return body;
}

/** Opens a dialog; true when it was agreed to. */
function agreed(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "ok"), { once: true });
  });
}

/** Asks for the token until it is the right one; whether there is one now. */
async function askForToken() {
  const refused = $("token-refused");
  refused.hidden = true;
  $("token").value = token.get();
  while (await agreed($("token-dialog"))) {
    const shown = $("token").value.trim();
    const reason = await whyRefused(shown);
    if (!reason) {
      token.set(shown);
      $("token").value = "";
      return true;
    }
    refused.textContent = reason;
    refused.hidden = false;
  }
  $("token").value = "";
  return false;
}

/** What the gateway says against a token; nothing when it is the right one. */
async function whyRefused(shown) {
  try {
    const response = await fetch("token", { method: "POST", headers: shown ? { Authorization: `Bearer ${shown}` } : {} });
    return response.ok ? "" : ((await response.json()).error ?? response.statusText);
  } catch (error) {
    return error.message;
  }
}

let toastTimer;
function say(text) {
  const toast = $("toast");
  toast.textContent = text;
  toast.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => (toast.hidden = true), 6000);
}

/** Does something that may fail, and says when it did. */
const attempt = (action) => async (...given) => {
  try {
    await action(...given);
  } catch (error) {
    say(error.message);
  }
};

// ---- Words for numbers ----

const rate = (value) => (value === 0 ? "0" : value < 10 ? value.toFixed(1) : Math.round(value).toLocaleString("en"));
const count = (value) => value.toLocaleString("en");
const percent = (value) => (value === 0 ? "0 %" : `${(value * 100).toFixed(value < 0.1 ? 1 : 0)} %`);
function time(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (!Number.isFinite(seconds)) return "> 60 s";
  const short = (value) => (value < 10 ? value.toFixed(1) : String(Math.round(value)));
  return seconds < 1 ? `${short(seconds * 1000)} ms` : `${short(seconds)} s`;
}
function span(milliseconds) {
  const seconds = Math.floor(milliseconds / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}
const clock = (written) => new Date(written).toLocaleTimeString("en-GB");
const label = (route) => (route === "" ? "(no route)" : route);

// ---- Traffic ----

/** What each route had done at the last look, and its rates since. */
const seen = new Map();
let lastLook;

/** The quantile of the requests between two looks at cumulative buckets; null without requests. */
function quantile(bounds, before, after, q) {
  const counts = after.map((value, index) => value - (before[index] ?? 0));
  const all = counts.at(-1);
  if (!all) return null;
  const rank = q * all;
  const bucket = counts.findIndex((value) => value >= rank);
  if (bucket >= bounds.length) return Infinity;
  const from = bucket === 0 ? 0 : bounds[bucket - 1];
  const below = bucket === 0 ? 0 : counts[bucket - 1];
  const inside = counts[bucket] - below || 1;
  return from + ((bounds[bucket] - from) * (rank - below)) / inside;
}

const sum = (lists, length) =>
  Array.from({ length }, (_, index) => lists.reduce((total, list) => total + (list[index] ?? 0), 0));

function traffic({ routes, bounds }) {
  const now = performance.now();
  const elapsed = lastLook ? (now - lastLook) / 1000 : undefined;
  lastLook = now;
  const names = new Set(routes.map((route) => route.name));
  for (const name of seen.keys()) if (!names.has(name)) seen.delete(name);
  const all = { requests: 0, errors: 0, before: [], after: [] };
  for (const route of routes) {
    const known = seen.get(route.name) ?? { rates: [], p95s: [] };
    const has = known.last && elapsed;
    const requests = has ? Math.max(route.requests - known.last.requests, 0) : 0;
    const errors = has ? Math.max(route.server_errors - known.last.server_errors, 0) : 0;
    const buckets = known.last?.duration_buckets ?? route.duration_buckets;
    const p50 = has ? quantile(bounds, buckets, route.duration_buckets, 0.5) : null;
    const p95 = has ? quantile(bounds, buckets, route.duration_buckets, 0.95) : null;
    const rates = [...known.rates, has ? requests / elapsed : 0].slice(-SAMPLES);
    const p95s = [...known.p95s, p95].slice(-SAMPLES);
    seen.set(route.name, { last: route, rates, p95s, now: { rate: rates.at(-1), p50, p95, errors, requests } });
    all.requests += requests;
    all.errors += errors;
    all.before.push(buckets);
    all.after.push(route.duration_buckets);
  }
  const length = bounds.length + 1;
  const p95 = quantile(bounds, sum(all.before, length), sum(all.after, length), 0.95);
  $("tile-rate").textContent = elapsed ? `${rate(all.requests / elapsed)}/s` : "–";
  $("tile-errors").textContent = all.requests ? percent(all.errors / all.requests) : "0 %";
  $("tile-errors").className = all.errors ? "bad" : "";
  $("tile-p95").textContent = time(p95);

  const shown = routes.filter((route) => route.name !== "" || route.requests > 0);
  const busiest = [...shown].sort((a, b) => b.requests - a.requests).slice(0, COLOURS);
  const colour = new Map(busiest.map((route, index) => [route.name, `var(--c${index})`]));
  $("routes").replaceChildren(...shown.slice(0, 200).map((route) => {
    const { now } = seen.get(route.name);
    const key = make("span", { className: "key" });
    key.style.background = colour.get(route.name) ?? "transparent";
    const name = make("td", {}, key, label(route.name));
    name.title = (route.conditions ?? []).join(", ");
    return make("tr", {}, name, cell(route.upstream), cell(rate(now.rate), "number"), cell(time(now.p50), "number"),
      cell(time(now.p95), "number"), cell(now.requests ? percent(now.errors / now.requests) : "–", `number ${now.errors ? "bad" : ""}`),
      cell(count(route.requests), "number"));
  }));
  const lines = (of) => busiest.map((route) => ({ name: label(route.name), colour: colour.get(route.name), values: seen.get(route.name)[of] }));
  plot("plot-rate", lines("rates"), (value) => `${rate(value)}/s`);
  plot("plot-p95", lines("p95s"), time);
}

/** Draws lines; a null in one is a gap. */
function plot(id, lines, words) {
  const svg = $(id);
  const [width, height] = [600, 180];
  const values = lines.flatMap((line) => line.values).filter((value) => Number.isFinite(value));
  const top = Math.max(...values, 0) * 1.1 || 1;
  const step = width / (SAMPLES - 1);
  const paths = lines.map(({ colour, values }) => {
    let path = "";
    let pen = "M";
    values.forEach((value, index) => {
      if (value === null) return void (pen = "M");
      const x = width - (values.length - 1 - index) * step;
      const y = height - (Math.min(value, top) / top) * (height - 6) - 2;
      // A single sample between two gaps is a dot.
      path += `${pen}${x.toFixed(1)} ${y.toFixed(1)}${pen === "M" ? "h.01" : ""}`;
      pen = "L";
    });
    const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
    const attributes = { d: path || "M0 0", fill: "none", "stroke-width": 2, "stroke-linejoin": "round", "stroke-linecap": "round", "vector-effect": "non-scaling-stroke" };
    for (const [name, value] of Object.entries(attributes)) line.setAttribute(name, value);
    line.style.stroke = colour;
    return line;
  });
  svg.replaceChildren(...paths);
  const latest = lines.map(({ name, values }) => `${name} ${values.at(-1) === null ? "no requests" : words(values.at(-1))}`);
  svg.setAttribute("aria-label", `Now: ${latest.join(", ") || "no routes"}`);
  $(`${id}-max`).textContent = values.length ? `maximum ${words(Math.max(...values))}` : "";
}

// ---- Upstreams ----

function upstreams({ upstreams }) {
  $("upstream-list").replaceChildren(...upstreams.map((upstream) => {
    const failed = (upstream.attempts.unreachable ?? 0) + (upstream.attempts.broken ?? 0) + (upstream.attempts["5xx"] ?? 0);
    const all = Object.values(upstream.attempts).reduce((total, value) => total + value, 0);
    const list = upstream.endpoints.map((endpoint) => {
      const state = endpoint.ejected ? ["ejected", "wait"] : endpoint.healthy ? ["healthy", "good"] : ["unhealthy", "bad"];
      const more = [endpoint.backup && "backup", endpoint.weight !== 1 && `weight ${endpoint.weight}`, `${endpoint.in_flight} in flight`];
      return make("li", {}, make("span", { className: "mono", textContent: endpoint.address }),
        make("span", {}, make("span", { className: "quiet", textContent: `${more.filter(Boolean).join(", ")} ` }), make("span", { className: `pill ${state[1]}`, textContent: state[0] })));
    });
    const sums = `${count(all)} attempts, ${count(failed)} failed, ${count(upstream.retries)} retries, ${count(upstream.ejections)} ejections`;
    return make("div", { className: "card" }, make("h3", { textContent: upstream.name }), make("ul", {}, ...list), make("p", { className: "quiet", textContent: sums }));
  }));
}

// ---- Sessions ----

let listed = [];

/** Those that are told at once, and where there are more, those of the user that is searched for. */
async function askForSessions() {
  const answer = await ask("sessions?limit=1000");
  const wanted = $("session-search").value.trim();
  if (wanted && answer.total > answer.sessions.length) {
    const known = new Set(answer.sessions.map((it) => it.id));
    const more = await ask(`sessions?${new URLSearchParams({ user: wanted, limit: "1000" })}`);
    answer.sessions.push(...more.sessions.filter((it) => !known.has(it.id)));
  }
  return answer;
}

function sessions(answer) {
  listed = answer.sessions.sort((a, b) => a.age_ms - b.age_ms || a.id.localeCompare(b.id));
  $("tile-sessions").textContent = count(answer.total);
  $("sessions-count").textContent = answer.draining ? `${count(answer.total)}, draining` : count(answer.total);
  showSessions();
}

function showSessions() {
  // What has the focus must not be taken away under the hand.
  if ($("session-list").contains(document.activeElement)) return;
  const wanted = $("session-search").value.trim().toLowerCase();
  const matches = listed.filter((it) =>
    [it["user.id"], it["http.route"], it["client.address"], it["url.path"], it["upstream.address"]].some((text) => (text ?? "").toLowerCase().includes(wanted)));
  $("session-list").replaceChildren(...matches.slice(0, SHOWN_SESSIONS).map((it) => {
    const who = it["user.id"] ?? it.id;
    const button = make("button", { type: "button", textContent: "Close…" });
    button.setAttribute("aria-label", `Close the session of ${who}`);
    button.addEventListener("click", attempt(() => kick(it, who)));
    return make("tr", {}, cell(it["user.id"]), cell(it["http.route"]), cell(it["client.address"]), cell(it["upstream.address"]),
      cell(span(it.age_ms), "number"), cell(span(it.idle_ms), "number"), cell(count(it.received.messages), "number"),
      cell(count(it.sent.messages), "number"), make("td", {}, button));
  }));
  const hidden = matches.length - SHOWN_SESSIONS;
  $("sessions-more").textContent = matches.length === 0 ? (listed.length ? "No session matches the search." : "No WebSocket session is open.") : hidden > 0 ? `${count(hidden)} more sessions match.` : "";
}

async function kick(session, who) {
  $("kick-who").textContent = `${who} on ${session["http.route"]}, from ${session["client.address"]}`;
  if (!(await agreed($("kick-dialog")))) return;
  const { closed } = await tell("sessions/close", { id: session.id, code: $("kick-code").value, reason: $("kick-reason").value });
  say(`${closed} WebSocket session closed`);
  document.activeElement?.blur();
  sessions(await askForSessions());
}

// ---- The log ----

let newest = 0;
let lines = [];
let paused = false;

function log(answer) {
  newest = answer.newest;
  $("log-note").textContent = answer.access_log ? "" : "The access log is off. Turn it on with the key access_log of the configuration.";
  if (!answer.lines.length) return;
  lines = [...lines, ...answer.lines.map(parsed)].slice(-1000);
  showLog();
}

function parsed(text) {
  try {
    return { text, fields: JSON.parse(text) };
  } catch {
    return { text, fields: null };
  }
}

function showLog() {
  const wanted = $("log-filter").value.trim().toLowerCase();
  const status = $("log-status").value;
  const matches = lines.filter(({ text, fields }) =>
    text.toLowerCase().includes(wanted) && (!status || String(fields?.["http.response.status_code"] ?? "").startsWith(status)));
  const tail = document.querySelector(".tail");
  const atEnd = tail.scrollHeight - tail.scrollTop - tail.clientHeight < 40;
  $("log-lines").replaceChildren(...matches.slice(-SHOWN_LINES).map(({ text, fields }) => {
    if (!fields) return make("tr", {}, make("td", { colSpan: 6, className: "mono", textContent: text }));
    const code = fields["http.response.status_code"];
    const what = fields.event === "http.request" ? `${fields["http.request.method"]} ${fields["url.path"]}` : `${fields.event} ${fields["url.path"] ?? ""}`;
    const row = make("tr", {}, cell(clock(fields.timestamp)), cell(code, code >= 500 ? "bad" : code >= 400 ? "wait" : ""), cell(what, "long"),
      cell(fields["http.route"]), cell(fields["user.id"]), cell(fields.duration_ms?.toFixed(1), "number"));
    row.title = fields.error ?? "";
    return row;
  }));
  if (atEnd) tail.scrollTop = tail.scrollHeight;
}

// ---- Explain ----

function node(title, text, more = "", className = "") {
  const box = make("div", { className: `node ${className}` }, make("b", { textContent: title }), text);
  if (more) box.append(make("small", { textContent: more }));
  return make("li", {}, box);
}

function explained({ explanation: it, text }) {
  const steps = [node("Request", `${it.method} ${it.path}`, it.client ? `${it.host}, from ${it.client}` : it.host)];
  const because = it.because.join(", ");
  const milliseconds = (value) => `${value} ms`;
  switch (it.verdict) {
    case "forwarded":
      steps.push(node("Route", it.route, because, "taken"));
      if (it.filters.length) steps.push(node("Filters", it.filters.map((filter) => filter.split(":")[0]).join(", "), it.filters.join("; "), "taken"));
      if (it.cors) steps.push(node("CORS", it.cors, "", it.cors.startsWith("allowed") ? "taken" : "not"));
      if (it.is_cached) steps.push(node("Cache", "may answer the request"));
      steps.push(node("Settings", Object.entries(it.settings).filter(([, how]) => how !== "off").map(([what]) => what).join(", "), Object.entries(it.settings).map(([what, how]) => `${what}: ${how}`).join("\n"), "taken"));
      steps.push(node("Upstream", it.upstream, `${it.endpoints.join(", ") || "no endpoints"}${it.splits.length ? `; split: ${it.splits.join(", ")}` : ""}`, "taken"));
      steps.push(node("Upstream request", `${it.scheme}://${it.host}${it.target}`, `connect ${milliseconds(it.connect_timeout_ms)}, read ${milliseconds(it.read_timeout_ms)}, ${it.retries} retries, WebSocket ${it.takes_websocket ? "on" : "off"}`, "taken"));
      break;
    case "answered":
      steps.push(node("Route", label(it.route), because, "taken"), node("Response", String(it.status), it.location ? `to ${it.location}` : it.reason || "by the gateway itself", "taken"));
      break;
    case "redirected":
      steps.push(node("Redirect", it.location, "to HTTPS", "taken"));
      break;
    case "method_not_allowed":
      steps.push(node("Response", "405", `allowed: ${it.allowed.join(", ")}`, "not"));
      break;
    case "refused":
      if (it.route) steps.push(node("Route", it.route, because, "taken"));
      steps.push(node("Response", String(it.status), it.reason, "not"));
      break;
    default:
      steps.push(node("Response", "404", "no route matches", "not"));
  }
  const parts = [make("ol", { className: "path" }, ...steps)];
  if (it.others.length) {
    const others = it.others.map((other) => make("li", { textContent: `${other.route}: ${other.ruled_out_by.join(", ")}` }));
    parts.push(make("p", { className: "quiet", textContent: "Other routes, and why they do not match:" }), make("ul", {}, ...others));
  }
  parts.push(make("details", {}, make("summary", { textContent: "As text" }), make("pre", { textContent: text })));
  $("explain-result").replaceChildren(...parts);
}

$("explain-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const parameters = new URLSearchParams({ url: $("explain-url").value.trim(), method: $("explain-method").value });
  for (const line of $("explain-headers").value.split("\n")) if (line.trim()) parameters.append("header", line.trim());
  const client = $("explain-client").value.trim();
  if (client) parameters.set("client", client);
  ask(`explain?${parameters}`).then(explained, (error) => $("explain-result").replaceChildren(make("p", { className: "bad", textContent: error.message })));
});

// ---- History ----

let shownVersions = "";

function history({ versions, refused }) {
  $("refused").hidden = !refused;
  if (refused) {
    $("refused-problems").textContent = refused.problems;
    $("refused-time").textContent = new Date(refused.time).toLocaleString("en-GB");
  }
  const mark = versions.map((it) => it.version).join();
  if (mark === shownVersions) return;
  shownVersions = mark;
  $("versions").replaceChildren(...versions.map((it, index) => {
    const item = make("li", { className: index === 0 ? "now" : "" }, make("span", { textContent: `${it.version}` }),
      make("span", { textContent: `${it.cause}, ${new Date(it.time).toLocaleString("en-GB")}` }));
    if (index === 0) item.append(make("span", { className: "pill good", textContent: "active" }));
    else {
      const button = make("button", { type: "button", textContent: "Roll back…" });
      button.setAttribute("aria-label", `Roll back to version ${it.version}`);
      button.addEventListener("click", attempt(() => rollback(it)));
      item.append(button);
    }
    if (it.text) item.append(make("pre", { textContent: it.text.trimEnd() }));
    return item;
  }));
}

async function rollback({ version, cause, time }) {
  $("rollback-what").textContent = `Version ${version} (${cause}, ${new Date(time).toLocaleString("en-GB")}) becomes the active configuration.`;
  if (!(await agreed($("rollback-dialog")))) return;
  const { changes } = await tell("rollback", { version });
  say(changes);
  history(await ask("history"));
}

// ---- The gateway itself ----

function status(it) {
  const state = $("state");
  [state.textContent, state.className] = it.ready ? it.draining ? ["draining", "pill wait"] : ["ready", "pill good"] : ["stopping", "pill wait"];
  state.title = `tidegate ${it.software}, up ${span(it.uptime_ms)}, ${it.listeners.join(", ")}`;
  $("tile-connections").textContent = count(it.connections);
  $("tile-version").textContent = it.version;
  $("restart").hidden = it.restart_needed.length === 0;
  $("restart-keys").textContent = it.restart_needed.join(", ");
  document.title = `Tidegate, ${it.listeners[0] ?? "no listeners"}`;
  if (!$("explain-url").value && !$("explain-url").placeholder.includes(it.listeners[0])) $("explain-url").placeholder = `http://${it.listeners[0]}/api/x?y=1`;
}

/** Asks again and again, one after the other, while somebody looks. */
async function follow() {
  for (let round = 0; ; round += 1) {
    if (!document.hidden) {
      try {
        status(await ask("status"));
        traffic(await ask("routes"));
        upstreams(await ask("upstreams"));
        if (!paused) log(await ask(`logs?after=${newest}&limit=1000`));
        sessions(await askForSessions());
        history(await ask("history"));
      } catch {
        $("state").textContent = "not reachable";
        $("state").className = "pill bad";
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

// ---- What hands do ----

// A cancel button that submits would be what Enter presses: it comes first.
for (const button of document.querySelectorAll("dialog .cancel")) button.addEventListener("click", () => button.closest("dialog").close("cancel"));

$("session-search").addEventListener("input", showSessions);
$("log-filter").addEventListener("input", showLog);
$("log-status").addEventListener("change", showLog);
$("log-pause").addEventListener("click", () => {
  paused = !paused;
  $("log-pause").setAttribute("aria-pressed", String(paused));
  $("log-pause").textContent = paused ? "Resume" : "Pause";
});
$("unlock").addEventListener("click", () => askForToken());

const theme = (name) => (document.documentElement.dataset.theme = name);
theme(localStorage.getItem("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
$("theme").addEventListener("click", () => localStorage.setItem("theme", theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark")));

follow();
