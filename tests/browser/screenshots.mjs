// Pictures of the dashboard for the README, light, dark and at a phone's width: `scripts/screenshots`.

import { setTimeout as pause } from "node:timers/promises";
import { launchChromium } from "./support.mjs";
import { startTraffic } from "./traffic.mjs";

const [seconds, folder] = process.argv.slice(2);
const traffic = await startTraffic();
const browser = await launchChromium();
const users = ["ada", "grace", "linus", "margaret", "dennis", "barbara", "ken", "frances"];

let over = false;
async function ask() {
  for (let round = 0; !over; round += 1) {
    const busy = 6 + 4 * Math.sin(round / 4);
    const paths = Array.from({ length: Math.round(busy) }, (_, index) => `/api/catalogue/${index}`);
    if (round % 2) paths.push("/api/search?q=tide");
    if (round % 9 === 0) paths.push("/api/billing/1", "/nothing-here");
    await Promise.all(paths.map((path) => traffic.get(path)));
    await pause(150);
  }
}

const sockets = await Promise.all(users.map((user) => traffic.open(user)));
const asking = ask();
const pages = [];
for (const [name, scheme, width, height] of [["light", "light", 1280, 1500], ["dark", "dark", 1280, 1500], ["phone", "light", 390, 900]]) {
  const page = await browser.newPage({ colorScheme: scheme, viewport: { width, height }, deviceScaleFactor: 1 });
  await page.goto(traffic.admin);
  pages.push([name, page]);
}
await traffic.edit();
for (let second = 0; second < Number(seconds); second += 1) {
  sockets[second % sockets.length].send("a message");
  await pause(1000);
}
for (const [name, page] of pages) {
  await page.bringToFront();
  await page.getByLabel("URL").fill(`${traffic.gateway}/api/billing/7?from=2026-11`);
  await page.getByRole("button", { name: "Explain", exact: true }).click();
  await page.locator(".path").waitFor();
  await page.evaluate(() => scrollTo(0, 0));
  await pause(1500);
  await page.screenshot({ path: `${folder}/dashboard-${name}.png`, fullPage: name !== "phone" });
}
over = true;
await asking;
await browser.close();
await traffic.stop();
