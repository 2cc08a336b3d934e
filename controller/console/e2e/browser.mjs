/** A browser, and one person's visit in it. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const DEADLINE_MILLIS = 20_000;
const PAGES = { "#/hosts": "fleet", "#/incidents": "incidents", "#/events": "events", "#/account": "account" };

/** For `expectRefusals`: nobody answers. */
export const OFFLINE = "offline";

export function launch(executablePath) {
  return chromium.launch({
    executablePath,
    args: [
      ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []),
      "--disable-gpu",
      "--disable-background-networking",
      "--disable-component-update",
      "--no-first-run",
    ],
  });
}

export class Visit {
  /** The certificate is by the site's own CA, which the browser does not know; all else is as for a person. */
  static async open(browser, url, { colorScheme = "light", width = 1280 } = {}) {
    const context = await browser.newContext({
      ignoreHTTPSErrors: true,
      locale: "en-GB",
      colorScheme,
      viewport: { width, height: 900 },
    });
    context.setDefaultTimeout(DEADLINE_MILLIS);
    return new Visit(browser, context, await context.newPage(), url);
  }

  constructor(browser, context, page, url) {
    Object.assign(this, { browser, context, page, url, errors: [], refusals: [] });
    page.on("pageerror", (error) => this.errors.push(`exception: ${error.message}`));
    page.on("dialog", (dialog) => {
      this.errors.push(`a dialog opened: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on("console", (message) => {
      if (message.type() === "error" && !this.wasExpected(message.text())) this.errors.push(message.text());
    });
  }

  /** Statuses, or `OFFLINE`, that the running step provokes; the browser logs each as an error. */
  expectRefusals(...refusals) {
    this.refusals = refusals;
  }

  wasExpected(text) {
    return this.refusals.some((what) => text.includes(what === OFFLINE ? "net::ERR_" : `status of ${what}`));
  }

  /** Script errors, refused resources and violations of the content security policy. */
  complainOfErrors() {
    const found = this.errors.splice(0);
    this.refusals = [];
    assert.deepEqual(found, [], "the browser reported errors");
  }

  /** Goes to a page and waits until it shows `until`; the page before may have had the same. */
  async go(fragment, until) {
    await this.page.evaluate((hash) => (window.location.hash = hash), fragment);
    await this.page.waitForSelector(`main[data-page=${PAGES[fragment]}] ${until}`);
  }

  /** No violation of accessibility rules, and no sideways scrolling. */
  async audit(what) {
    await this.page.evaluate(AXE);
    const violations = await this.page.evaluate(async () => {
      const result = await window.axe.run();
      return result.violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`);
    });
    assert.deepEqual(violations, [], `${what} violates accessibility rules`);
    const excess = await this.page.evaluate(
      () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
    );
    assert.ok(excess <= 0, `${what} is ${excess} px wider than the window`);
  }

  texts(selector) {
    return this.page.locator(selector).allInnerTexts();
  }

  text(selector) {
    return this.page.locator(selector).first().innerText();
  }

  async count(selector) {
    return this.page.locator(selector).count();
  }

  /** Waits for a sign, with the deadline of every wait. */
  sees(selector) {
    return this.page.waitForSelector(selector);
  }

  picture(path) {
    return this.page.screenshot({ path, fullPage: true });
  }

  /** Calls the interface as a script in this page would, with this visit's cookie. */
  call(method, path, body) {
    return this.page.evaluate(
      async ([method, path, body]) => {
        const response = await fetch(`/api/v1${path}`, {
          method,
          headers: { "content-type": "application/json", "x-cordon-csrf": "1" },
          ...(body && { body: JSON.stringify(body) }),
        });
        const text = await response.text();
        return { status: response.status, body: text ? JSON.parse(text) : undefined };
      },
      [method, path, body],
    );
  }

  async close() {
    await this.context.close();
  }
}
