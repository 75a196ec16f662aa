// A Django application behind the gateway, as Chromium uses it over HTTPS: the browser sends its cookies in pieces over
// HTTP/2 (RFC 9113, section 8.2.3), and a WSGI server that gets them so takes none of them.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { freePorts, launchChromium, openPage, PATIENCE, startGateway } from "./support.mjs";

const options = { timeout: 2 * PATIENCE };

describe("a form and a session of Django by HTTPS", () => {
  let application;
  let gateway;
  let browser;
  let origin;

  before(async () => {
    const [port, plain, secure] = await freePorts(3);
    origin = `https://localhost:${secure}`;
    application = spawn(
      process.env.DJANGO_PYTHON ?? "python3",
      [fileURLToPath(new URL("django_app.py", import.meta.url)), String(port)],
      { stdio: ["ignore", "inherit", "inherit"] },
    );
    gateway = await startGateway(
      `
listeners:
  - address: 127.0.0.1:${plain}
  - address: 127.0.0.1:${secure}
    tls: {self_signed: true}
upstreams:
  django: {endpoints: ["127.0.0.1:${port}"]}
routes:
  - {name: all, match: {path_prefix: /}, upstream: django}
`,
      `http://127.0.0.1:${plain}/`,
    );
    browser = await launchChromium("--ignore-certificate-errors");
  });
  after(async () => {
    await browser?.close();
    await gateway?.stop();
    application?.kill();
  });

  test("the form is taken, and the session is kept", options, async () => {
    const tab = await openPage(browser, `${origin}/`);
    const { page } = tab;
    assert.equal(await page.textContent("#greeting"), "hello stranger");
    await page.fill("input[name=name]", "Ada");
    await Promise.all([page.waitForNavigation(), page.click("button")]);
    assert.equal(await page.textContent("#greeting"), "hello Ada");
    await page.reload();
    assert.equal(await page.textContent("#greeting"), "hello Ada");
    const lines = gateway.output().split("\n");
    const posted = lines.filter((line) => line.includes('"POST"')).map((line) => JSON.parse(line));
    assert.equal(posted.length, 1);
    assert.equal(posted[0]["network.protocol.version"], "2");
    assert.equal(posted[0]["http.response.status_code"], 302);
    await tab.close();
  });
});
