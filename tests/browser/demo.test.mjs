// The story of the README in a real browser: page, gateway and notification service are three
// origins, and the page knows only the gateway.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { launchChromium, openPage, PATIENCE, refusal, startDemo, storyConfig, until } from "./support.mjs";

const CONNECTED = "Connection successful";
const POLLING = "Polling every 3 s (WebSocket is off)";
const options = { timeout: 3 * PATIENCE };

/** Whether the gateway upgrades at this moment; what a reload changes. */
const upgradeIs = (status, demo) => async () => {
  try {
    return (await refusal(demo.socket("prober"))).status === status;
  } catch (error) {
    return status === 101 && /was upgraded/.test(error.message);
  }
};

let browser;
before(async () => (browser = await launchChromium()));
after(() => browser?.close());

describe("the demo, as it comes", () => {
  let demo;
  before(async () => (demo = await startDemo()));
  after(() => demo?.stop());

  /** Opens the page for a user of this test alone, and in the end wants no 1006 in its console. */
  const story = (name, userId, play) =>
    test(name, options, async () => {
      const tab = await openPage(browser, demo.page(userId));
      try {
        await tab.shows("status", CONNECTED);
        await play(tab);
        const said = tab.console.join("\n");
        assert.doesNotMatch(said, /1006/, "no abnormal closure");
        assert.doesNotMatch(said, /^(error|uncaught|warning):/m, "nothing to complain about");
      } finally {
        await tab.close();
      }
    });

  story("the bell says that the connection is successful", "bell", async ({ page, console }) => {
    assert.equal(await page.locator("#unread").textContent(), "0");
    const said = console.join("\n");
    assert.match(said, /🔌 Connecting to WebSocket via API Gateway: ws:\/\/localhost:\d+\/api\/notifications\/ws\?userId=bell/);
    assert.match(said, /✅ WebSocket connected for user: bell/);
  });

  story("a notification appears without a reload, and the unread count grows", "user-1", async ({ page, console, shows }) => {
    await page.evaluate(() => (window.notReloaded = true));
    await demo.notify("user-1", "The tide is in", "by HTTP, through the gateway");
    await shows("unread", "1");
    await shows("list", /The tide is in.*by HTTP, through the gateway/);
    assert.match(console.join("\n"), /🔔 Real-time notification received: .*The tide is in/);

    await demo.notify("somebody-else", "Not for you");
    await page.getByLabel("Title").fill("From the form");
    await page.getByRole("button", { name: "Send" }).click();
    await shows("unread", "2");
    await shows("sent", "Sent to user-1");
    assert.match(await shows("list", /^From the form/), /The tide is in/, "newest first");
    assert.doesNotMatch(await page.locator("#list").textContent(), /Not for you/);

    await page.locator("#bell").click();
    await shows("unread", "0");
    assert.equal(await page.evaluate(() => window.notReloaded), true);
  });

  story("a reload of the page shows what was there before", "reloader", async ({ page, shows }) => {
    await demo.notify("reloader", "Still here");
    await shows("unread", "1");
    await page.reload();
    await shows("status", CONNECTED);
    await shows("unread", "1");
    await shows("list", /Still here/);
  });

  story("another user gets their own notifications, by a socket of their own", "first", async ({ page, shows }) => {
    await page.getByLabel("User", { exact: true }).fill("second");
    await page.getByLabel("User", { exact: true }).press("Enter");
    await shows("status", CONNECTED);
    await demo.notify("first", "For the first");
    await demo.notify("second", "For the second");
    await shows("list", /For the second/);
    await shows("unread", "1");
    assert.doesNotMatch(await page.locator("#list").textContent(), /For the first/);
  });

  story("the Test WebSocket button logs a round trip and a normal closure", "tester", async ({ page, shows }) => {
    await page.getByRole("button", { name: "Test WebSocket" }).click();
    const log = await shows("log", /WebSocket works/);
    assert.match(log, /Opening ws:.*Open after.*connected as tester.*→ ping.*← pong, round trip [\d.]+ ms.*Closed with code 1000/);
    await shows("status", CONNECTED);
  });

  test("Ctrl-C ends everything with status 0, and tells the browser", options, async () => {
    const tab = await openPage(browser, demo.page("last"));
    try {
      await tab.shows("status", CONNECTED);
      const { code, killedBy, output } = await demo.stop("SIGINT");
      assert.deepEqual({ code, killedBy }, { code: 0, killedBy: null }, output);
      await tab.shows("status", /^Reconnecting in \d+ s…$/);
      // Chromium itself may add that the page cannot connect anew; what counts is how this one ended.
      // 1001 is the service's word; 1014 is the gateway's, when the service was gone before it said any.
      assert.match(tab.console.join("\n"), /WebSocket disconnected: 10(01|12|14)/, "an orderly end, no 1006");
    } finally {
      await tab.close();
    }
  });
});

describe("with WebSocket turned off by the operator", () => {
  let demo;
  before(async () => (demo = await startDemo({ config: storyConfig("off") })));
  after(() => demo?.stop());

  test("an upgrade is refused with 403 and a reason", options, async () => {
    const { status, body } = await refusal(demo.socket("user-1"));
    assert.equal(status, 403);
    assert.equal(typeof JSON.parse(body).message, "string", body);
  });

  test("the page polls, says so, and a notification still arrives", options, async () => {
    const tab = await openPage(browser, demo.page("user-1"));
    try {
      await tab.shows("status", POLLING);
      assert.match(tab.console.join("\n"), /WebSocket disabled, using polling only/);
      await demo.notify("user-1", "By the slow way");
      await tab.shows("list", /By the slow way/);
      await tab.shows("unread", "1");
      await tab.shows("status", POLLING);

      await tab.page.getByRole("button", { name: "Test WebSocket" }).click();
      await tab.shows("log", /WebSocket does not work, HTTP does/);
    } finally {
      await tab.close();
    }
  });
});

test("turning WebSocket off and on again by the file keeps open sockets, and polling pages come back", options, async () => {
  let ports;
  const demo = await startDemo({ config: (given) => storyConfig("on")((ports = given)) });
  const tabs = [];
  try {
    const early = await openPage(browser, demo.page("early"));
    tabs.push(early);
    await early.shows("status", CONNECTED);

    await demo.config.write(storyConfig("off")(ports));
    await until("the gateway to refuse upgrades", upgradeIs(403, demo));
    // The page's clock is ours, to spare the 30 s until it tries the WebSocket again.
    const late = await openPage(browser, demo.page("late"), (page) => page.clock.install());
    tabs.push(late);
    await late.shows("status", POLLING);
    await demo.notify("early", "On the socket of before");
    await early.shows("list", /On the socket of before/);
    await early.shows("status", CONNECTED);

    await demo.config.write(storyConfig("on")(ports));
    await until("the gateway to upgrade again", upgradeIs(101, demo));
    await late.page.clock.fastForward(30_000);
    await late.shows("status", CONNECTED);
    await demo.notify("late", "Live again");
    await late.shows("list", /Live again/);
    assert.doesNotMatch(early.console.join("\n"), /1006|disconnected/);
  } finally {
    await Promise.all(tabs.map((tab) => tab.close()));
    await demo.stop();
  }
});
