/**
 * Drives the console in a real browser against a running controller, after an attack on one host:
 *
 *     CORDON_CONSOLE_URL=https://127.0.0.1:8443 CORDON_USER=admin CORDON_PASSWORD=... npm run e2e
 *
 * The host must be isolated when it starts, and is open when it ends. `CORDON_HOST` names it (`ep1`),
 * `CORDON_CHROMIUM` the browser (`/usr/bin/chromium`), `CORDON_NEW_PASSWORD` what to replace a one-time
 * password by (else one is made up and printed). Exit code 0: all held; 1: something did not, with a
 * screenshot in `test-results/`; 2: it could not begin.
 */
import { mkdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { randomUUID } from "node:crypto";
import { launch, Visit } from "./browser.mjs";
import { steps } from "./steps.mjs";

const RESULTS = fileURLToPath(new URL("../test-results", import.meta.url));

function settings() {
  const { env } = process;
  const missing = ["CORDON_CONSOLE_URL", "CORDON_USER", "CORDON_PASSWORD"].filter((name) => !env[name]);
  if (missing.length > 0) {
    console.error(`e2e: set ${missing.join(", ")}; see the head of e2e/run.mjs`);
    process.exit(2);
  }
  return {
    url: env.CORDON_CONSOLE_URL.replace(/\/$/, ""),
    user: env.CORDON_USER,
    password: env.CORDON_PASSWORD,
    newPassword: env.CORDON_NEW_PASSWORD || `e2e-${randomUUID()}`,
    host: env.CORDON_HOST || "ep1",
    chromium: env.CORDON_CHROMIUM || "/usr/bin/chromium",
  };
}

async function play(visit, wanted) {
  for (const [name, step] of steps) {
    const began = performance.now();
    try {
      await step(visit, wanted);
      visit.complainOfErrors();
    } catch (error) {
      const picture = `${RESULTS}/${name.replace(/\W+/g, "-")}.png`;
      await visit.picture(picture).catch(() => {});
      console.error(`FAILED  ${name}\n  at ${visit.page.url()}\n  ${error.stack ?? error}\n  screenshot: ${picture}`);
      return 1;
    }
    console.log(`ok  ${((performance.now() - began) / 1000).toFixed(1).padStart(5)} s  ${name}`);
  }
  return 0;
}

const wanted = settings();
rmSync(RESULTS, { recursive: true, force: true });
mkdirSync(RESULTS, { recursive: true });
const browser = await launch(wanted.chromium).catch((error) => {
  console.error(`e2e: cannot start ${wanted.chromium}: ${error.message}\nInstall it (\`cargo xtask setup\`) or set CORDON_CHROMIUM.`);
  process.exit(2);
});
try {
  process.exitCode = await play(await Visit.open(browser, wanted.url), wanted);
} finally {
  await browser.close();
}
