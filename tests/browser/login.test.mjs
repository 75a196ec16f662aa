// `tidegate demo --auth` in a real browser: a page logs in, its socket belongs to its user alone, and lives through the
// expiry of the token that opened it.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { launchChromium, openPage, PATIENCE, refusal, startDemo, until } from "./support.mjs";

const CONNECTED = "Connection successful";
const options = { timeout: 4 * PATIENCE };

let browser;
before(async () => (browser = await launchChromium()));
after(() => browser?.close());

/** Opens the page and logs in. */
async function logIn(demo, user) {
  const tab = await openPage(browser, demo.origin);
  await tab.shows("status", "Not logged in");
  await tab.page.getByTestId("login-user").selectOption(user);
  await tab.page.getByRole("button", { name: "Log in" }).click();
  await tab.shows("login-log", new RegExp(`${user} has logged in`));
  await tab.shows("status", CONNECTED);
  return tab;
}

describe("the demo with a login", () => {
  let demo;
  before(async () => (demo = await startDemo({ args: ["--auth"] })));
  after(() => demo?.stop());

  test("nobody gets in without a token", options, async () => {
    const { status, body } = await refusal(demo.socket("alice"));
    assert.equal(status, 401, body);
    assert.equal(JSON.parse(body).error, "authentication_required");
  });

  test("a user logs in, and notifications arrive at their socket only", options, async () => {
    const tabs = [];
    try {
      const alice = await logIn(demo, "alice");
      tabs.push(alice);
      const bob = await logIn(demo, "bob");
      tabs.push(bob);
      await bob.page.getByLabel("To user").fill("alice");
      await bob.page.getByLabel("Title").fill("From bob");
      await bob.page.getByRole("button", { name: "Send" }).click();
      await bob.shows("sent", "Sent to alice");
      await alice.shows("list", /From bob/);
      await alice.shows("unread", "1");
      await alice.page.locator("#bell").click();
      await alice.shows("unread", "0");
      assert.equal(await bob.page.locator("#list").textContent(), "");

      await alice.page.getByRole("button", { name: "Test WebSocket" }).click();
      await alice.shows("log", /connected as alice.*WebSocket works/);
      for (const tab of tabs) assert.doesNotMatch(tab.console.join("\n"), /^(error|uncaught|warning):/m);
    } finally {
      await Promise.all(tabs.map((tab) => tab.close()));
    }
  });

  test("the notifications of another user are refused, and the page and the log say why", options, async () => {
    const tab = await logIn(demo, "alice");
    try {
      await tab.page.getByRole("button", { name: "Subscribe as bob" }).click();
      const said = await tab.shows("login-log", /403: .*/);
      assert.match(said, /the query parameter `userId` must name the user who is logged in/);
      assert.doesNotMatch(said, /let alice listen/);
      await until("the log to say why", () => demo.output().includes("user_mismatch"));
      await tab.shows("status", CONNECTED);
    } finally {
      await tab.close();
    }
  });

  test("after a logout the page has no socket, and another user can log in", options, async () => {
    const tab = await logIn(demo, "alice");
    try {
      await tab.page.getByRole("button", { name: "Log out" }).click();
      await tab.shows("status", "Not logged in");
      await tab.page.getByTestId("login-user").selectOption("carol");
      await tab.page.getByRole("button", { name: "Log in" }).click();
      await tab.shows("status", CONNECTED);
      await tab.page.getByRole("button", { name: "Test WebSocket" }).click();
      await tab.shows("log", /connected as carol.*WebSocket works/);
    } finally {
      await tab.close();
    }
  });

  test("no token is in the output of the gateway", () => assert.doesNotMatch(demo.output(), /eyJ/));
});

test("a socket lives through the expiry of its token", options, async () => {
  // Warned 4 s before the expiry, and closed 10 s after it without a renewal.
  const lifetime = 12;
  const demo = await startDemo({ args: ["--auth", "--token-ttl", String(lifetime)] });
  let tab;
  try {
    tab = await logIn(demo, "alice");
    const opened = Date.now();
    await tab.shows("login-log", /Renewed until/);
    await until("the first token and the grace to be over", () => Date.now() - opened > (lifetime + 12) * 1000);
    await demo.notify("alice", "Still on the first socket", "", await demo.token("bob"));
    await tab.shows("list", /Still on the first socket/);
    const said = tab.console.join("\n");
    assert.doesNotMatch(said, /disconnected/);
    assert.equal(said.match(/WebSocket connected for user: alice/g).length, 1, said);
    assert.doesNotMatch(await tab.page.getByTestId("login-log").textContent(), /Not renewed/);
  } finally {
    await tab?.close();
    await demo.stop();
  }
});
