// The demo's front end. It knows one address, the gateway's, and has one job: to show each
// notification as soon as it can be had, by WebSocket, or by polling where there is none.

import * as login from "/login.js";

/** Upgrades that may fail in a row before the page polls. */
const UPGRADE_ATTEMPTS = 2;
const POLL_EVERY = 3_000;
/** While it polls, the page asks this often whether WebSocket is back. */
const RETRY_EVERY = 30_000;
const BACKOFF_FIRST = 1_000;
const BACKOFF_LAST = 30_000;
/** A socket that lived this long was a good one: the next wait is a short one again. */
const STABLE_AFTER = 5_000;
const OPEN_TIMEOUT = 10_000;
const FETCH_TIMEOUT = 10_000;
const KEPT = 100;

const gateway = document.querySelector('meta[name="tidegate-gateway"]').content;
const element = (id) => document.getElementById(id);
const socketUrl = (userId) =>
  `${gateway.replace(/^http/, "ws")}/api/notifications/ws?userId=${encodeURIComponent(userId)}`;
const apiUrl = (path, userId) =>
  `${gateway}/api/notification${path}${userId === undefined ? "" : `?userId=${encodeURIComponent(userId)}`}`;

// ---- HTTP -----------------------------------------------------------------------------------

/** A request through the gateway. Throws an Error that can be shown to a person. */
async function call(url, options = {}) {
  const signals = [AbortSignal.timeout(FETCH_TIMEOUT), options.signal].filter(Boolean);
  const headers = { ...options.headers, ...(await login.headers()) };
  let response;
  try {
    response = await fetch(url, { ...options, headers, signal: AbortSignal.any(signals) });
  } catch (error) {
    // The browser doesn't tell a page whether it was the network or CORS.
    throw new Error(`no answer from ${gateway} (${error.message})`, { cause: error });
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(`${response.status}: ${answer.message ?? response.statusText}`);
  return answer;
}

// ---- The list, the bell -----------------------------------------------------------------------

/** What is shown, by id: the notification and its list item. */
const shown = new Map();

function add(notification, isNew) {
  const known = shown.get(notification.id);
  if (known) {
    known.notification = notification;
    known.item.classList.toggle("unread", !notification.read);
    return false;
  }
  const item = document.createElement("li");
  item.dataset.testid = "notification";
  item.classList.toggle("unread", !notification.read);
  item.classList.toggle("new", isNew);
  const time = document.createElement("time");
  time.dateTime = notification.createdAt;
  time.textContent = new Date(notification.createdAt).toLocaleTimeString();
  item.append(text("strong", notification.title), time);
  if (notification.body) item.append(text("p", notification.body));

  // Newest first, whatever the order in which a push and a poll bring them.
  const age = ({ createdAt, id }) => `${createdAt} ${id}`;
  const older = [...shown.values()]
    .filter((other) => age(other.notification) < age(notification))
    .sort((a, b) => (age(a.notification) < age(b.notification) ? 1 : -1))[0];
  element("list").insertBefore(item, older?.item ?? null);
  shown.set(notification.id, { notification, item });
  if (shown.size > KEPT) {
    const last = element("list").lastElementChild;
    for (const [id, each] of shown) if (each.item === last) shown.delete(id);
    last.remove();
  }
  return true;
}

function text(tag, content, className = "") {
  const node = document.createElement(tag);
  node.textContent = content;
  node.className = className;
  return node;
}

function showUnread() {
  const count = [...shown.values()].filter(({ notification }) => !notification.read).length;
  element("unread").textContent = String(count);
  element("unread").hidden = count === 0;
  element("bell").setAttribute("aria-label", `Notifications, ${count || "none"} unread. Mark all as read.`);
  document.title = count ? `(${count}) Tidegate demo` : "Tidegate demo";
}

/** Brings the list up to date. Gives those that were not shown before, oldest first. */
async function load(userId, signal, isNew = false) {
  const { notifications } = await call(apiUrl("", userId), { signal });
  if (signal.aborted) return [];
  const added = notifications.reverse().filter((notification) => add(notification, isNew));
  showUnread();
  return added;
}

// ---- The link to the gateway --------------------------------------------------------------------

function showStatus(state, words, quietly = false) {
  const status = element("status");
  // A screen reader hears that we wait, and is spared the countdown.
  status.setAttribute("aria-live", quietly ? "off" : "polite");
  status.dataset.state = state;
  status.textContent = words;
}

/** Waits; less if `signal` ends it, or if the machine comes back online, which gives true. */
function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const done = (event) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      window.removeEventListener("online", done);
      resolve(event?.type === "online");
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener("abort", done);
    window.addEventListener("online", done);
  });
}

/** One WebSocket, from its opening to its end. Says whether it opened, and for how long. */
async function listen(userId, signal) {
  const url = socketUrl(userId);
  console.log(`🔌 Connecting to WebSocket via API Gateway: ${url}`);
  let subprotocols;
  try {
    subprotocols = await login.subprotocols();
  } catch (error) {
    console.warn(`❌ No token: ${error.message}`);
  }
  if (signal.aborted || !subprotocols) return { opened: false, lasted: 0 };
  return new Promise((resolve) => {
    const socket = new WebSocket(url, subprotocols);
    let openedAt;
    const tooSlow = setTimeout(() => socket.close(), OPEN_TIMEOUT);
    const leave = () => socket.close(1000, "another user");
    signal.addEventListener("abort", leave);
    // Also what was missed while there was no socket. Polling and the next open try again.
    const catchUp = () => load(userId, signal).catch((error) => signal.aborted || console.warn(error.message));

    socket.onopen = () => {
      clearTimeout(tooSlow);
      if (signal.aborted) return;
      openedAt = performance.now();
      console.log(`✅ WebSocket connected for user: ${userId}`);
      showStatus("open", "Connection successful");
      catchUp();
    };
    socket.onmessage = ({ data }) => {
      if (signal.aborted) return;
      let message;
      try {
        message = JSON.parse(data);
      } catch {
        return console.warn("a message that is not JSON", data);
      }
      if (message.type === "missed") return catchUp();
      if (message.type === "session.expiring") return login.renew(message);
      if (message.type !== "notification") return;
      console.log("🔔 Real-time notification received:", JSON.stringify(message.notification));
      add(message.notification, true);
      showUnread();
    };
    socket.onclose = ({ code, reason }) => {
      clearTimeout(tooSlow);
      signal.removeEventListener("abort", leave);
      const opened = openedAt !== undefined;
      if (!signal.aborted) {
        const why = reason ? ` (${reason})` : "";
        console.warn(opened ? `🔌 WebSocket disconnected: ${code}${why}` : `❌ WebSocket did not open: ${code}${why}`);
      }
      resolve({ opened, lasted: opened ? performance.now() - openedAt : 0 });
    };
  });
}

/**
 * Polls until it is time to try the WebSocket again. False if polling gets no answer either: then
 * it is not that WebSocket is off, and saying so would mislead.
 */
async function poll(userId, signal) {
  const retryAt = performance.now() + RETRY_EVERY;
  while (!signal.aborted && performance.now() < retryAt) {
    try {
      for (const notification of await load(userId, signal, true)) {
        if (!notification.read) console.log("🔔 Notification received by polling:", JSON.stringify(notification));
      }
    } catch (error) {
      if (!signal.aborted) console.warn(error.message);
      return false;
    }
    if (signal.aborted) break;
    if (element("status").dataset.state !== "polling") {
      console.log("WebSocket disabled, using polling only");
      showStatus("polling", `Polling every ${POLL_EVERY / 1000} s (WebSocket is off)`);
    }
    await pause(POLL_EVERY, signal);
  }
  return true;
}

async function waitToReconnect(attempt, signal) {
  const most = Math.min(BACKOFF_LAST, BACKOFF_FIRST * 2 ** attempt);
  // Half of it by chance, lest all pages come back in the same moment.
  const until = performance.now() + most / 2 + Math.random() * (most / 2);
  let seconds = Math.ceil((until - performance.now()) / 1000);
  for (let first = true; seconds > 0 && !signal.aborted; first = false) {
    showStatus("waiting", `Reconnecting in ${seconds} s…`, !first);
    seconds -= 1;
    const tick = until - performance.now() - seconds * 1000;
    if (await pause(Math.max(tick, 0), signal)) return;
  }
}

/** Keeps `userId`'s notifications coming, by whatever way there is, until `signal` ends it. */
async function follow(userId, signal) {
  showStatus("connecting", "Connecting…");
  let refused = 0; // upgrades in a row that never opened
  let attempt = 0; // of the backoff
  while (!signal.aborted) {
    const { opened, lasted } = await listen(userId, signal);
    if (signal.aborted) return;
    refused = opened ? 0 : refused + 1;
    attempt = lasted > STABLE_AFTER ? 0 : attempt + 1;
    if (refused >= UPGRADE_ATTEMPTS && (await poll(userId, signal))) continue;
    await waitToReconnect(attempt, signal);
    if (!signal.aborted) showStatus("connecting", "Connecting…");
  }
}

let current = { userId: "", stop: new AbortController() };

function stop() {
  current.stop.abort();
  current = { userId: "", stop: new AbortController() };
  element("list").replaceChildren();
  shown.clear();
  showUnread();
}

function become(userId) {
  if (userId === current.userId) return;
  stop();
  current.userId = userId;
  element("user-id").value = userId;
  element("to").value = userId;
  const url = new URL(location.href);
  url.searchParams.set("userId", userId);
  history.replaceState(null, "", url);
  follow(userId, current.stop.signal);
}

// ---- The WebSocket check ------------------------------------------------------------------------

const CLOSE_CODES = {
  1000: "normal closure",
  1001: "going away",
  1002: "protocol error",
  1005: "no code given",
  1006: "no close frame: the connection broke, or never was",
  1008: "policy violation",
  1011: "server error",
  1012: "service restart",
  1013: "try again later",
  1014: "bad gateway",
};

function note(words, className) {
  const item = text("li", words, className);
  item.prepend(text("time", new Date().toLocaleTimeString()));
  element("log").append(item);
}

const milliseconds = (since) => `${(performance.now() - since).toFixed(1)} ms`;

/** Opens a second socket, plays ping and pong, closes. True if all of it went well. */
async function check(userId) {
  const url = socketUrl(userId);
  const subprotocols = await login.subprotocols();
  return new Promise((resolve) => {
    note(`Opening ${url}`);
    const started = performance.now();
    const socket = new WebSocket(url, subprotocols);
    let pingedAt;
    let answered = false;
    const tooSlow = setTimeout(() => {
      note("No answer in time: giving up", "bad");
      socket.close();
    }, OPEN_TIMEOUT);
    socket.onopen = () => note(`Open after ${milliseconds(started)}`);
    socket.onmessage = ({ data }) => {
      let message = {};
      try {
        message = JSON.parse(data);
      } catch {
        note("← something that is not JSON", "bad");
      }
      if (message.type === "connected") {
        // Only now, so that what we measure is the round trip and not the service's greeting.
        note(`← connected as ${message.userId}`);
        note("→ ping");
        pingedAt = performance.now();
        socket.send("ping");
      }
      if (message.type !== "pong") return;
      answered = true;
      note(`← pong, round trip ${milliseconds(pingedAt)}`);
      note("Closing with code 1000");
      socket.close(1000, "check done");
    };
    socket.onclose = ({ code, wasClean }) => {
      clearTimeout(tooSlow);
      note(`Closed with code ${code} (${CLOSE_CODES[code] ?? "the application's own code"})`, wasClean ? "" : "bad");
      resolve(answered && code === 1000);
    };
  });
}

async function runCheck() {
  const { userId } = current;
  element("log").replaceChildren();
  if (await check(userId)) return note("WebSocket works", "good");
  // The browser hides why an upgrade failed. Whether HTTP passes narrows it down.
  try {
    await call(apiUrl("", userId));
    note("WebSocket does not work, HTTP does: is it off on this route, or its upstream down?", "bad");
  } catch (error) {
    note(`WebSocket does not work, nor does HTTP: ${error.message}`, "bad");
  }
}

// ---- What the person does -----------------------------------------------------------------------

element("test-ws").addEventListener("click", async ({ currentTarget: button }) => {
  button.disabled = true;
  await runCheck().catch((error) => note(error.message, "bad"));
  button.disabled = false;
});

element("bell").addEventListener("click", async () => {
  const { userId, stop } = current;
  try {
    await call(apiUrl("/read", userId), { method: "POST" });
    await load(userId, stop.signal);
  } catch (error) {
    if (!stop.signal.aborted) console.warn(`not marked as read: ${error.message}`);
  }
});

element("send").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  const button = form.querySelector("button");
  const sent = element("sent");
  button.disabled = true;
  try {
    const { userId } = await call(apiUrl(""), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(Object.fromEntries(new FormData(form))),
    });
    sent.dataset.state = "good";
    sent.textContent = `Sent to ${userId}`;
  } catch (error) {
    sent.dataset.state = "bad";
    sent.textContent = `Not sent: ${error.message}`;
  }
  button.disabled = false;
});

const chooseUser = () => {
  const userId = element("user-id").value.trim();
  if (userId) become(userId);
  else element("user-id").value = current.userId;
};
element("user-id").addEventListener("change", chooseUser);
element("who").addEventListener("submit", (event) => {
  event.preventDefault();
  chooseUser();
});

element("gateway").textContent = gateway;
if (login.isRequired) {
  const loggedOut = () => showStatus("waiting", "Not logged in");
  const leave = () => {
    stop();
    loggedOut();
  };
  login.start({ enter: become, leave, socketUrl });
  loggedOut();
} else {
  become(new URL(location.href).searchParams.get("userId")?.trim() || "user-1");
}
