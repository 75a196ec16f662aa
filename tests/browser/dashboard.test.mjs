// The dashboard in a real browser: what it shows, that it follows, and what it changes.

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, before, describe, test } from "node:test";
import { launchChromium, openPage, PATIENCE, until } from "./support.mjs";
import { startTraffic, TOKEN } from "./traffic.mjs";

const options = { timeout: 3 * PATIENCE };
const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

let browser, traffic;
before(async () => {
  browser = await launchChromium();
  traffic = await startTraffic();
});
after(async () => {
  await browser?.close();
  await traffic?.stop();
});

/** The dashboard in a tab of its own, which in the end has nothing to complain about. */
const seen = (name, play, settings = {}) =>
  test(name, options, async () => {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...settings });
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE);
    const complaints = [];
    page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(message.text()));
    page.on("pageerror", (error) => complaints.push(String(error)));
    try {
      await page.goto(traffic.admin);
      await page.locator("#state", { hasText: "ready" }).waitFor();
      await play(page);
      // A refusal that a test is about is one of these.
      assert.deepEqual(complaints.filter((text) => !/status of 40[01]/.test(text)), []);
    } finally {
      await context.close();
    }
  });

const row = (page, body, text) => page.locator(`${body} tr`, { hasText: text });

/** Agrees to a dialog that wants the token. */
async function showToken(page, token = TOKEN) {
  await page.getByLabel("Token", { exact: true }).fill(token);
  await page.getByRole("button", { name: "Use token" }).click();
}

describe("the dashboard", () => {
  seen("shows traffic by route, and follows it", async (page) => {
    const total = row(page, "#routes", "catalogue").first().locator("td").last();
    await total.waitFor();
    const before = Number(await total.textContent());
    for (let n = 0; n < 5; n += 1) await traffic.get("/api/catalogue/1");
    await until("the requests to be counted", async () => Number(await total.textContent()) === before + 5);
    await traffic.get("/api/billing/1");
    await until("an error to show", async () => {
      await traffic.get("/api/billing/1");
      return (await page.locator("#tile-errors").textContent()) !== "0 %";
    });
    assert.match(await page.locator("#plot-rate").getAttribute("aria-label"), /catalogue .*\/s/);
  });

  seen("shows upstreams and the state of their endpoints", async (page) => {
    const card = page.locator(".card", { hasText: "billing" });
    await until("the endpoint that nobody serves to be ejected", async () => {
      await traffic.get("/api/billing/1");
      return /ejected/.test(await card.textContent());
    });
  });

  seen("shows sessions by user, finds one, and closes it with a code and a reason", async (page) => {
    const socket = await traffic.open("ada");
    await traffic.open("grace");
    await row(page, "#session-list", "ada").waitFor();
    await page.getByLabel("Search", { exact: true }).fill("ADA");
    await row(page, "#session-list", "grace").waitFor({ state: "detached" });
    await page.getByRole("button", { name: "Close the session of ada" }).click();
    await page.getByLabel("Close code").fill("4003");
    await page.getByLabel("Reason").fill("log in again");
    const closed = once(socket, "close");
    await page.getByRole("button", { name: "Close the session", exact: true }).click();
    await showToken(page);
    const [code, reason] = await closed;
    assert.deepEqual([code, reason.toString()], [4003, "log in again"]);
    await row(page, "#session-list", "ada").waitFor({ state: "detached" });
    await page.locator("#toast", { hasText: "1 WebSocket session closed" }).waitFor();
  });

  seen("changes nothing without the admin token", async (page) => {
    await traffic.open("linus");
    await page.getByRole("button", { name: "Close the session of linus" }).click();
    await page.getByRole("button", { name: "Close the session", exact: true }).click();
    await showToken(page, "not the token");
    // It is asked for again, and nothing is kept that is not the right one.
    await page.getByRole("alert").getByText("the token does not match").waitFor();
    assert.equal(await page.evaluate(() => sessionStorage.getItem("token")), null);
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "hidden" });
    await row(page, "#session-list", "linus").waitFor();
  });

  seen("shows and filters the latest lines of the log", async (page) => {
    await traffic.get("/nothing-here");
    await traffic.get("/api/catalogue/last");
    await row(page, "#log-lines", "/api/catalogue/last").waitFor();
    await page.getByLabel("Status").selectOption("4xx");
    await row(page, "#log-lines", "/api/catalogue/last").waitFor({ state: "detached" });
    await row(page, "#log-lines", "/nothing-here").first().waitFor();
    await page.getByLabel("Status").selectOption("all");
    await page.getByLabel("Filter").fill("last");
    await row(page, "#log-lines", "/nothing-here").first().waitFor({ state: "detached" });
    await row(page, "#log-lines", "/api/catalogue/last").waitFor();
  });

  seen("explains a request as a path", async (page) => {
    await page.getByLabel("URL").fill(`${traffic.gateway}/api/billing/7?x=1`);
    await page.getByLabel("Headers").fill("Origin: https://evil.example");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    const path = page.locator(".path li");
    await path.first().waitFor();
    const steps = await path.allTextContents();
    assert.match(steps[1], /^Routebilling/);
    assert.match(steps.join(" "), /CORSrefused/);
    assert.match(steps.at(-1), /\/broken\/7\?x=1/);
    await page.getByLabel("URL").fill("gopher://nonsense");
    await page.getByRole("button", { name: "Explain", exact: true }).click();
    await page.locator("#explain-result .bad").waitFor();
  });

  seen("shows the versions, and rolls back to one", async (page) => {
    await traffic.edit();
    await page.locator("#versions li", { hasText: "timeouts.read: " }).first().waitFor();
    const number = Number(await page.locator("#versions li").first().locator("span").first().textContent());
    await page.getByRole("button", { name: `Roll back to version ${number - 1}` }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Roll back" }).click();
    await showToken(page);
    await page.locator("#versions li", { hasText: `rollback to ${number - 1}` }).waitFor();
    assert.match(await page.locator("#versions li").first().textContent(), /active/);
  });

  seen("reports a rejected edit until it is corrected", async (page) => {
    const text = await readFile(traffic.file, "utf8");
    await traffic.edit(text.replace("upstream: catalogue", "upstream: catalog"));
    await page.getByRole("alert").getByText("did you mean `catalogue`?").waitFor();
    await traffic.edit(text);
    await page.getByRole("alert").waitFor({ state: "hidden" });
  });

  seen("shows untrusted input as text", async (page) => {
    const evil = `<img src=x onerror="document.title='owned'">`;
    await traffic.open(encodeURIComponent(evil));
    await traffic.get(`/nothing/${encodeURIComponent(evil)}`);
    await row(page, "#session-list", "<img").waitFor();
    await row(page, "#log-lines", "/nothing/").first().waitFor();
    assert.equal(await page.locator("main img").count(), 0);
    assert.notEqual(await page.title(), "owned");
  });

  seen("can be used with only the keyboard", async (page) => {
    await traffic.open("keyboard");
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to main content");
    const button = page.getByRole("button", { name: "Close the session of keyboard" });
    await button.focus();
    await page.keyboard.press("Enter");
    await page.getByRole("dialog").waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.closest("dialog")?.id), "kick-dialog");
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "hidden" });
    assert.ok(await row(page, "#session-list", "keyboard").isVisible());
    // Enter confirms, in each dialog.
    await button.focus();
    await page.keyboard.press("Enter");
    await page.getByLabel("Reason").focus();
    await page.keyboard.press("Enter");
    await page.getByLabel("Token", { exact: true }).fill(TOKEN);
    await page.keyboard.press("Enter");
    await row(page, "#session-list", "keyboard").waitFor({ state: "detached" });
    await traffic.edit();
    const back = page.getByRole("button", { name: /^Roll back to version / }).first();
    await back.focus();
    await page.keyboard.press("Enter");
    await page.getByRole("dialog").waitFor();
    await page.keyboard.press("Enter");
    await page.locator("#versions li", { hasText: "rollback to " }).first().waitFor();
  });

  for (const colorScheme of ["light", "dark"]) {
    seen(`has no accessibility violations that axe finds, in ${colorScheme}`, async (page) => {
      await traffic.open("axe");
      await row(page, "#session-list", "axe").first().waitFor();
      await page.getByLabel("URL").fill(`${traffic.gateway}/api/billing/7`);
      await page.getByRole("button", { name: "Explain", exact: true }).click();
      await page.locator(".path").waitFor();
      assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), colorScheme);
      await page.addScriptTag({ path: axe });
      const { violations } = await page.evaluate(() => axe.run());
      assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)]), []);
    }, { colorScheme, bypassCSP: true });
  }

  seen("fits a phone", async (page) => {
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, `${wide} pixels too wide`);
    await page.getByRole("link", { name: "History" }).click();
    await until("the history to be in view", () => page.locator("#history-title").isVisible());
  }, { viewport: { width: 360, height: 740 } });
});
