/** What a responder does after an attack, and what must be true at each step. */
import assert from "node:assert/strict";
import { OFFLINE, Visit } from "./browser.mjs";

const LEASE = "[data-lease]";
const TREE = ".tree";
const CONFIRMED = ".isolation-confirmed";
const HAN = /\p{Script=Han}/u;

const row = (host) => `tr[data-host="${host}"]`;

export const steps = [
  ["opens the sign-in page", openSignIn],
  ["is refused with a wrong password", refuseWrongPassword],
  ["signs in", (visit, { user, password }) => signIn(visit, user, password)],
  ["sees the fleet with the isolated host", seeFleet],
  ["finds the incident", findIncident],
  ["reads what happened", readSummary],
  ["reads the verdict and its reasons", readVerdict],
  ["reads the lineage", readLineage],
  ["sees the isolation proved", seeProof],
  ["sees the lease count down", seeLease],
  ["sees what was done, in order", seeTimeline],
  ["sees the host and its events", seeHostAndEvents],
  ["gives a viewer nothing to write with", lookAsViewer],
  ["is told when the news is old", seeStale],
  ["comes back after the session has ended", comeBack],
  ["reads it all in Chinese, in the dark, on a narrow screen", readInChinese],
  ["says what the incident was", sayWhatItWas],
  ["releases the host by keyboard", release],
  ["sees the host open", seeOpen],
  ["isolates the host by hand", isolateByHand],
  ["lengthens the lease", lengthen],
  ["releases the host again", releaseAgain],
  ["replaces the one-time password", replacePassword],
  ["signs out", signOut],
];

async function openSignIn(visit) {
  await visit.page.goto(`${visit.url}/`);
  visit.expectRefusals(401);
  await visit.sees("form input[type=password]");
  assert.match(await visit.page.title(), /Cordon/);
  await visit.audit("the sign-in page");
}

async function enter(visit, user, password) {
  await visit.page.fill("input[autocomplete=username]", user);
  await visit.page.fill("input[autocomplete=current-password]", password);
  await visit.page.click("button[type=submit]");
}

async function refuseWrongPassword(visit, { user }) {
  visit.expectRefusals(401);
  await enter(visit, user, "not the password");
  await visit.sees("form [role=alert]");
  assert.equal(await visit.text("form [role=alert]"), "The user name or the password is wrong.");
  assert.equal((await visit.call("GET", "/hosts")).status, 401);
}

async function signIn(visit, user, password) {
  visit.expectRefusals(401); // the page asks who is signed in before anybody is
  await enter(visit, user, password);
  await visit.sees("header nav");
  assert.ok((await visit.text("header .account")).includes(user));
}

async function seeFleet(visit, { host }) {
  await visit.go("#/hosts", `${row(host)} ${CONFIRMED}`);
  assert.equal(await visit.text(`${row(host)} [data-isolation=isolated]`), "isolated, proved");
  assert.equal(await visit.count(`${row(host)} .presence.online`), 1, `${host} must be online`);
  assert.equal(await visit.count("tbody [data-isolation=isolated]"), 1, "no other host may be isolated");
  await visit.sees(".live");
  await visit.audit("the fleet");
}

async function findIncident(visit, { host }) {
  await visit.go("#/incidents", row(host));
  assert.equal(await visit.count(row(host)), 1, "one attack is one incident");
  assert.match(await visit.text(`${row(host)} .badge`), /^(high|critical)$/);
  assert.ok((await visit.text(`${row(host)} th`)).includes(host));
  assert.equal(await visit.count(`${row(host)} ${CONFIRMED}`), 1, "the list says that the host is isolated");
  await visit.audit("the incidents");
  await visit.page.click(`${row(host)} th a`);
  await visit.sees(TREE);
}

async function readSummary(visit, { host }) {
  assert.ok((await visit.text("h1")).includes(host), "the title names the host");
  assert.equal(await visit.text("#summary-title"), "What happened");
  const summary = await visit.text(".summary");
  assert.ok(summary.includes(host) && summary.length > 100, `the summary says what happened: ${summary}`);
  assert.ok((await visit.count(".advice li")) > 0, "there is advice");
  assert.ok((await visit.count(".incident-head .chip")) > 0, "techniques are named");
  await visit.audit("the incident");
}

async function readVerdict(visit) {
  await visit.sees("[data-verdict=malicious]");
  const score = Number(await visit.text(".score-number"));
  assert.ok(score > 0.5 && score <= 1, `the score is ${score}`);
  assert.match(await visit.text("[data-verdict] .pairs"), /network|gate|rule|indicator/);
  const weights = await visit.texts("[data-reason] .weight");
  assert.ok(weights.length > 0, "the model gives reasons");
  for (const weight of weights) assert.match(weight, /^[+−]\d\.\d\d$/);
  for (const reason of await visit.texts("[data-reason] td:first-child")) assert.notEqual(reason.trim(), "");
}

async function readLineage(visit) {
  assert.equal(await visit.count("[data-judged]"), 1, "one process is marked as judged");
  assert.match(await visit.text("[data-judged]"), /judged[\s\S]*pid \d+/);
  const nodes = await visit.page.locator(".tree .node").evaluateAll((all) => all.map((node) => "judged" in node.dataset));
  assert.ok(nodes.indexOf(true) > 0, "the judged process has an ancestor above it");
  for (const node of await visit.texts(".tree .node strong")) assert.notEqual(node.trim(), "");
}

async function seeProof(visit) {
  await visit.sees(`section[aria-labelledby=isolation-title] ${CONFIRMED}`);
  const holds = await visit.page.locator("[data-holds]").evaluateAll((all) => all.map((probe) => probe.dataset.holds));
  assert.ok(holds.length >= 2, "there are probes");
  assert.deepEqual(holds.filter((held) => held !== "true"), [], "every probe holds");
  const found = await visit.texts("[data-holds] td:nth-child(2)");
  assert.ok(found.includes("reached") && found.includes("blocked"), `one gets through and one does not: ${found}`);
}

async function seeLease(visit) {
  const before = await visit.text(LEASE);
  assert.match(before, /^(\d+:)?\d{1,2}:\d\d$/);
  await visit.page.waitForFunction(
    ([selector, before]) => document.querySelector(selector)?.innerText !== before,
    [LEASE, before],
  );
  const seconds = (text) => text.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
  const after = await visit.text(LEASE);
  assert.ok(seconds(after) < seconds(before), `the lease goes from ${before} to ${after}`);
}

async function seeTimeline(visit) {
  const times = await visit.page
    .locator("section[aria-labelledby=timeline-title] time")
    .evaluateAll((all) => all.map((time) => Date.parse(time.dateTime)));
  assert.ok(times.length >= 2, "a detection and a measure");
  assert.deepEqual([...times].sort((a, b) => a - b), times);
  assert.ok((await visit.count("section[aria-labelledby=timeline-title] .measure")) > 0, "measures are told");
}

async function seeHostAndEvents(visit, { host }) {
  await visit.page.click(".incident-line a");
  await visit.sees(`[data-host="${host}"] h1`);
  await visit.sees(LEASE);
  assert.ok((await visit.text("#facts-title + dl")).includes("eBPF") || (await visit.text("#facts-title + dl")).includes("/proc"));
  await visit.audit("the host");
  await visit.page.click('a[href^="#/events?"]');
  await visit.sees("tr[data-kind=detection]");
  await visit.sees("tr[data-kind=isolation]");
  assert.deepEqual([...new Set(await visit.texts("tbody td:nth-child(2)"))], [host], "only the host's own events");
  await visit.audit("the events");
  await visit.go("#/account", "input[autocomplete=new-password]");
  await visit.audit("the account");
}

async function incidentOf(visit, host) {
  await visit.go("#/incidents", row(host));
  await visit.page.click(`${row(host)} th a`);
  await visit.sees(TREE);
}

async function lookAsViewer(visit, { host }) {
  const name = `viewer-${Date.now().toString(36)}`;
  const made = await visit.call("POST", "/users", { username: name, role: "viewer" });
  assert.equal(made.status, 201, JSON.stringify(made.body));
  const viewer = await Visit.open(visit.browser, visit.url);
  viewer.expectRefusals(401, 403);
  await viewer.page.goto(`${viewer.url}/`);
  await viewer.sees("form");
  await enter(viewer, name, made.body.password);
  await viewer.sees("header nav");
  await incidentOf(viewer, host);
  const buttons = await viewer.texts("button");
  assert.deepEqual(buttons, ["English", "简体中文", "Sign out"], "a viewer sees no button that writes");
  const { id } = (await viewer.call("GET", "/hosts")).body.find((one) => one.name === host);
  const refused = await viewer.call("POST", `/hosts/${id}/release`, { reason: "a viewer tries" });
  assert.equal(refused.status, 403, "the controller refuses a viewer's order");
  viewer.complainOfErrors();
  await viewer.close();
}

async function seeStale(visit, { host }) {
  await incidentOf(visit, host);
  await visit.sees("[data-stale=false]");
  visit.expectRefusals(OFFLINE);
  await visit.context.setOffline(true);
  await visit.sees("[data-stale=true]");
  assert.match(await visit.text("main [role=alert]"), /^No news from the controller. What you see was true at \d\d:\d\d:\d\d UTC/);
  assert.equal(await visit.count(".live"), 0, "nothing is called live");
  await visit.audit("old news");
  await visit.context.setOffline(false);
  await visit.sees("[data-stale=false]");
  await visit.sees(".live");
}

async function comeBack(visit, { user, password, host }) {
  await incidentOf(visit, host);
  const place = visit.page.url();
  visit.expectRefusals(401);
  await visit.context.clearCookies();
  await visit.sees("form [role=status]");
  assert.match(await visit.text("form [role=status]"), /session has ended/);
  await enter(visit, user, password);
  await visit.sees(TREE);
  assert.equal(visit.page.url(), place);
}

async function readInChinese(visit, { host }) {
  await visit.page.emulateMedia({ colorScheme: "dark" });
  await visit.page.setViewportSize({ width: 400, height: 850 });
  await visit.page.click('button[lang="zh-Hans"]');
  assert.equal(await visit.page.getAttribute("html", "lang"), "zh-Hans");
  await incidentOf(visit, host);
  await visit.page.reload();
  await visit.sees(TREE);
  for (const selector of ["h1", ".summary", "#summary-title", "#isolation-title", ".advice li", "nav", "[data-act=release]"])
    assert.match(await visit.text(selector), HAN, `${selector} is not in Chinese`);
  assert.equal(await visit.text("[data-verdict] .badge"), "恶意");
  assert.match(await visit.page.title(), HAN);
  await visit.audit("the incident in Chinese");
  for (const [fragment, until] of [["#/hosts", row(host)], ["#/incidents", row(host)], ["#/events", "tr[data-kind]"]]) {
    await visit.go(fragment, until);
    assert.match(await visit.text("h1"), HAN);
    await visit.audit(`${fragment} in Chinese`);
  }
  await visit.page.click('button[lang="en"]');
  await visit.page.setViewportSize({ width: 1280, height: 900 });
  await visit.page.emulateMedia({ colorScheme: "light" });
}

async function sayWhatItWas(visit, { host }) {
  await incidentOf(visit, host);
  await visit.sees("[data-said=nothing]");
  await visit.page.click("[data-act=malicious]");
  await visit.sees("dialog[open]");
  await visit.audit("the question what it was");
  assert.ok(await visit.page.isDisabled("dialog button[type=submit]"), "nothing is said without a reason");
  await visit.page.click("dialog button[type=button]");
  await visit.page.waitForSelector("dialog", { state: "detached" });
  await give(visit, "malicious", { reason: REASON });
  await visit.sees("[data-said=malicious]");
  assert.ok((await visit.text("[data-label=malicious]")).includes(REASON), "the reason is shown as it was typed");
  assert.equal(await visit.count(".incident-line .verdict-malicious"), 1, "the incident says so, too");
  const { body } = await visit.call("GET", visit.page.url().replace(/^.*#/, ""));
  assert.equal(body.status, "open", "nothing is closed by it");
  await visit.audit("what people say");
}

const REASON = "end-to-end test: planned work <b>&</b>";

async function release(visit, { host }) {
  await incidentOf(visit, host);
  await visit.page.focus("[data-act=release]");
  await visit.page.keyboard.press("Enter");
  await visit.sees("dialog[open]");
  await visit.audit("the confirmation");
  assert.ok((await visit.text("dialog h2")).includes(host));
  assert.match(await visit.text("dialog p"), /on the network again/, "the consequence is stated");
  assert.ok(await visit.page.isDisabled("dialog button[type=submit]"), "no release without a reason");
  await visit.page.keyboard.type(REASON);
  await visit.page.focus("dialog button[type=submit]");
  await visit.page.keyboard.press("Enter");
  await visit.page.waitForSelector("dialog", { state: "detached" });
  await seeDone(visit, "release", REASON);
}

/** Waits until the order is done, and checks whose word each step is. */
async function seeDone(visit, verb, reason) {
  const order = visit.page.locator(`[data-order=${verb}][data-state=done]`, { hasText: reason });
  await order.waitFor();
  const steps = await order.locator("[data-step]").evaluateAll((all) => all.map(({ dataset }) => [dataset.step, dataset.signed]));
  const signed = steps.filter(([step]) => step !== "delivered");
  assert.deepEqual(signed, [["queued", "false"], ["started", "true"], ["done", "true"]]);
}

async function give(visit, act, { reason, lease }) {
  await visit.page.click(`[data-act=${act}]`);
  await visit.page.fill("dialog textarea", reason);
  if (lease) await visit.page.selectOption("dialog select", lease);
  await visit.page.click("dialog button[type=submit]");
  await visit.page.waitForSelector("dialog", { state: "detached" });
}

async function seeOpen(visit, { host }) {
  await visit.sees("section[aria-labelledby=isolation-title] [data-isolation=open]");
  await visit.sees("[data-act=isolate]");
  assert.equal(await visit.count(LEASE), 0, "an open host has no lease");
  await visit.go("#/hosts", `${row(host)} [data-isolation=open]`);
  assert.equal(await visit.count("tbody [data-isolation=isolated]"), 0);
  const { status, body } = await visit.call("GET", "/hosts");
  assert.equal(status, 200);
  assert.equal(body.find((one) => one.name === host).isolation.state, "released");
}

async function isolateByHand(visit, { host }) {
  await visit.go("#/hosts", row(host));
  await visit.page.click(`${row(host)} th a`);
  await give(visit, "isolate", { reason: "end-to-end test: by hand", lease: "3600" });
  await seeDone(visit, "isolate", "by hand");
  await visit.sees(`section[aria-labelledby=isolation-title] ${CONFIRMED}`);
  const left = await visit.text(LEASE);
  assert.match(left, /^(1:00:00|59:\d\d)$/);
}

async function lengthen(visit) {
  await give(visit, "extend", { reason: "end-to-end test: longer", lease: "14400" });
  await seeDone(visit, "isolate", "longer");
  await visit.page.waitForFunction((selector) => /^(4:00:00|3:59:)/.test(document.querySelector(selector)?.innerText), LEASE);
  await visit.sees(CONFIRMED);
}

async function releaseAgain(visit, wanted) {
  await give(visit, "release", { reason: "end-to-end test: the end" });
  await seeDone(visit, "release", "the end");
  await seeOpen(visit, wanted);
}

async function replacePassword(visit, { password, newPassword }) {
  const isFirst = (await visit.count("[data-first-password]")) === 1;
  await visit.go("#/account", "input[autocomplete=new-password]");
  visit.expectRefusals(401);
  await changeTo(visit, "not the password", newPassword);
  await visit.sees("form [role=alert]");
  if (!isFirst) return;
  await changeTo(visit, password, newPassword);
  await visit.sees("form [role=status]");
  console.log(`    the password is now ${newPassword}`);
  await visit.go("#/hosts", "table");
  await visit.page.waitForSelector("[data-first-password]", { state: "detached" });
}

async function changeTo(visit, current, next) {
  await visit.page.fill("input[autocomplete=current-password]", current);
  for (const field of await visit.page.locator("input[autocomplete=new-password]").all()) await field.fill(next);
  await visit.page.click("form button[type=submit]");
}

async function signOut(visit) {
  visit.expectRefusals(401);
  await visit.page.locator(".bar-end > .button").click();
  await visit.sees("form input[autocomplete=username]");
  await visit.page.reload();
  await visit.sees("form input[autocomplete=username]");
  assert.equal((await visit.call("GET", "/hosts")).status, 401, "the session has ended on the controller too");
}
