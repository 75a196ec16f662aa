// The login of `tidegate demo --auth`. It gets short tokens from the demo's issuer, which is at the page's own origin,
// and renews the login of the open socket when the gateway warns. Without --auth there are no users, and it does nothing.

const FETCH_TIMEOUT = 10_000;
/** The service's subprotocol. It is offered beside the token, because the gateway removes the token's entry. */
const SUBPROTOCOL = "notifications.v1";
const TOKEN_PREFIX = "access_token.";
/** A token that is valid for less than this part of its lifetime is replaced before it is used. */
const SPARE = 0.1;

const gateway = document.querySelector('meta[name="tidegate-gateway"]').content;
const users = document.querySelector('meta[name="tidegate-users"]').content.split(" ").filter(Boolean);
const element = (id) => document.getElementById(id);

/** Whether the gateway requires a login. */
export const isRequired = users.length > 0;

let user = "";
/** The newest token, its time of expiry and its lifetime in milliseconds. */
let newest = { token: "", expiresAt: 0, lifetime: 0 };

function note(words, className = "") {
  const item = document.createElement("li");
  item.className = className;
  const time = document.createElement("time");
  time.textContent = new Date().toLocaleTimeString();
  item.append(time, words);
  element("login-log").append(item);
  while (element("login-log").children.length > 30) element("login-log").firstElementChild.remove();
}

async function fetchToken() {
  const asked = user;
  const response = await fetch("/token", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ user: asked }),
    signal: AbortSignal.timeout(FETCH_TIMEOUT),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(`the issuer answered ${response.status}: ${answer.message}`);
  if (asked !== user) throw new Error("another user has logged in");
  const lifetime = answer.expires_in * 1000;
  newest = { token: answer.access_token, expiresAt: Date.now() + lifetime, lifetime };
  return newest.token;
}

/** A valid token of the user who is logged in. */
async function token() {
  const isFresh = newest.expiresAt - Date.now() > newest.lifetime * SPARE;
  return isFresh ? newest.token : fetchToken();
}

/** Headers for a request to the gateway. */
export async function headers() {
  return isRequired && user ? { authorization: `Bearer ${await token()}` } : {};
}

/** Subprotocols for a WebSocket: a browser can't send headers with it. */
export async function subprotocols() {
  return isRequired ? [SUBPROTOCOL, `${TOKEN_PREFIX}${await token()}`] : [];
}

/** The gateway has warned: sends a fresh token for the open socket. */
export async function renew({ in: seconds, session }) {
  note(`← the session expires in ${seconds} s`);
  try {
    const response = await fetch(`${gateway}/.tidegate/session`, {
      method: "POST",
      headers: { authorization: `Bearer ${await fetchToken()}`, "x-tidegate-session": session },
      signal: AbortSignal.timeout(FETCH_TIMEOUT),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(`${response.status}: ${answer.message}`);
    note(`Renewed until ${new Date(answer.expires).toLocaleTimeString()}; the socket stays open`, "good");
  } catch (error) {
    note(`Not renewed: ${error.message}`, "bad");
  }
}

/** Tries to get what belongs to another user, with one's own token. */
async function impersonate(socketUrl) {
  const victim = users.find((other) => other !== user);
  const url = socketUrl(victim);
  note(`Opening ${url} with the token of ${user}`);
  const socket = new WebSocket(url, await subprotocols());
  const { opened, code } = await new Promise((resolve) => {
    let opened = false;
    socket.onopen = () => {
      opened = true;
      socket.close(1000);
    };
    socket.onclose = ({ code }) => resolve({ opened, code });
  });
  if (opened) return note(`The gateway let ${user} listen to ${victim}: the route lacks user_matches`, "bad");
  note(`Refused. A browser shows only the code ${code}; the same request without an upgrade:`);
  const response = await fetch(url.replace(/^ws/, "http"), {
    headers: await headers(),
    signal: AbortSignal.timeout(FETCH_TIMEOUT),
  });
  const { message } = await response.json();
  note(`${response.status}: ${message}`, response.status === 403 ? "good" : "bad");
}

function showLogin() {
  element("login").hidden = user !== "";
  element("logged-in").hidden = user === "";
  element("impersonate").disabled = user === "";
  element("impersonate").textContent = user
    ? `Subscribe as ${users.find((other) => other !== user)}`
    : "Subscribe as another user";
  const seconds = Math.max(0, Math.round((newest.expiresAt - Date.now()) / 1000));
  element("login-state").textContent = user ? `${user}, token valid for ${seconds} s` : "";
}

/** Shows the login. Calls `enter(user)` after a login and `leave()` after a logout. */
export function start({ enter, leave, socketUrl }) {
  element("who").hidden = true;
  element("login-card").hidden = false;
  element("login-user").replaceChildren(...users.map((name) => new Option(name)));
  element("login").addEventListener("submit", async (event) => {
    event.preventDefault();
    user = element("login-user").value;
    newest = { token: "", expiresAt: 0, lifetime: 0 };
    try {
      await fetchToken();
    } catch (error) {
      user = "";
      return note(`Not logged in: ${error.message}`, "bad");
    }
    note(`${user} has logged in; the token is valid for ${newest.lifetime / 1000} s`, "good");
    showLogin();
    enter(user);
  });
  element("logout").addEventListener("click", () => {
    note(`${user} has logged out`);
    user = "";
    showLogin();
    leave();
  });
  element("impersonate").addEventListener("click", async ({ currentTarget: button }) => {
    button.disabled = true;
    await impersonate(socketUrl).catch((error) => note(error.message, "bad"));
    showLogin();
  });
  setInterval(showLogin, 1_000);
  showLogin();
}
