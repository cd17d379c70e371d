// relay.js in Chromium. Pages are served under www.shop.localhost, the relay behind t.shop.localhost
// as a site would have it, with a proxy between that writes down all that the tag sends.
"use strict";
const assert = require("node:assert/strict");
const fs = require("node:fs");
const http = require("node:http");
const os = require("node:os");
const path = require("node:path");
const puppeteer = require("puppeteer-core");

const relay = new URL(process.env.RELAY_PUBLIC);
const SITE = "http://www.shop.localhost";
const RELAY = "http://t.shop.localhost";
const KEY = "dev-key-tag";
const STUB = `window.relay=window.relay||function(n,p,o){o=o||{};o.eventID=o.eventID||Math.random().toString(36).slice(2)+Date.now();(relay.q=relay.q||[]).push([n,p,o]);return o.eventID}`;
const GRANTED = `{ad_storage:"granted",ad_user_data:"granted",ad_personalization:"granted",analytics_storage:"granted"}`;
const DENIED = GRANTED.replaceAll("granted", "denied");
const GTAG = "window.dataLayer=window.dataLayer||[];function gtag(){dataLayer.push(arguments)}";

const listen = (server) =>
  new Promise((done) => server.listen(0, "127.0.0.1", () => done(server.address().port)));

// === the site ===

let page = "";
// Three seconds of silence, which a <video> plays: a fixture that needs no encoder.
const CLIP = (() => {
  const rate = 8000, samples = Buffer.alloc(3 * rate, 128), head = Buffer.alloc(44);
  head.write("RIFF", 0);
  head.writeUInt32LE(36 + samples.length, 4);
  head.write("WAVEfmt ", 8);
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(1, 20);
  head.writeUInt16LE(1, 22);
  head.writeUInt32LE(rate, 24);
  head.writeUInt32LE(rate, 28);
  head.writeUInt16LE(1, 32);
  head.writeUInt16LE(8, 34);
  head.write("data", 36);
  head.writeUInt32LE(samples.length, 40);
  return Buffer.concat([head, samples]);
})();
const site = http.createServer((request, response) => {
  if (request.url === "/clip.wav") {
    return response.writeHead(200, { "content-type": "audio/wav", "content-length": CLIP.length }).end(CLIP);
  }
  const allows = request.url.startsWith("/favicon") ? "" : page;
  response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(allows);
});

/** A page with the snippet: scripts before it, attributes of it, modules, a body. */
const html = ({ before = "", attributes = "", modules = "", body = "" } = {}) =>
  `<!doctype html><title>Shop</title><script>${before}</script><script>${STUB}</script>
<script async src="${RELAY}/v1/relay.js${modules && "?m=" + modules}" data-key="${KEY}" ${attributes}></script>
<body>${body}`;

// === the proxy ===

let sent = [];
let down = false;
const proxy = http.createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const body = Buffer.concat(parts);
    if (down) return request.socket.destroy();
    const call = { method: request.method, url: request.url, headers: request.headers, body: body.toString() };
    if (request.url.startsWith("/v1/beacon")) sent.push(call);
    const upstream = http.request(
      { host: relay.hostname, port: relay.port, method: request.method, path: request.url, headers: request.headers },
      (answer) => {
        const chunks = [];
        answer.on("data", (chunk) => chunks.push(chunk));
        answer.on("end", () => {
          Object.assign(call, { status: answer.statusCode, answered: answer.headers, answer: Buffer.concat(chunks).toString() });
          response.writeHead(answer.statusCode, answer.rawHeaders).end(Buffer.concat(chunks));
        });
      }
    );
    upstream.on("error", () => response.destroy());
    upstream.end(body);
  });
});

const events = () => sent.flatMap((call) => (call.method === "POST" ? JSON.parse(call.body).events : []));
const named = (name) => events().filter((event) => event.event === name);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const until = async (what, holds) => {
  for (let i = 0; i < 150; i++) {
    // A page that is just being left answers nothing; the next one does.
    const isLeft = (error) => /context was destroyed|Cannot find context/.test(String(error));
    try {
      if (await holds()) return;
    } catch (error) {
      if (!isLeft(error)) throw error;
    }
    await pause(50);
  }
  assert.fail(`never: ${what}; sent ${JSON.stringify(sent.map((call) => [call.status, call.body, call.answer]))}`);
};
/** Everything sent was accepted. */
const taken = async () => {
  const answered = (call) => call.method !== "POST" || call.answer !== undefined;
  await until("every answer", () => sent.every(answered));
  for (const call of sent.filter((call) => call.method === "POST")) {
    const answer = JSON.parse(call.answer);
    assert.equal(call.status, 202, call.answer);
    assert.deepEqual(answer.rejected, [], call.answer);
  }
};
/** What the browser keeps for the site. */
const kept = async (tab) => ({
  cookies: (await tab.browserContext().cookies()).map((cookie) => cookie.name).sort(),
  local: await tab.evaluate(() => Object.keys(localStorage)),
  session: await tab.evaluate(() => Object.keys(sessionStorage)),
});
const NOTHING = { cookies: [], local: [], session: [] };

// === the cases ===

const cases = {
  async "without a signal nothing is kept and nothing is sent"(tab) {
    page = html();
    await tab.goto(SITE + "/?gclid=g1&fbclid=f1");
    await tab.evaluate(() => relay("begin_checkout", { value: "5" }));
    await pause(1500);
    assert.equal(sent.length, 0);
    assert.deepEqual(await kept(tab), NOTHING);
    await tab.goto(SITE + "/next");
    await pause(300);
    assert.equal(sent.length, 0, "nor when the page is left");
  },

  async "a refusal keeps nothing and sends nothing"(tab) {
    page = html({ before: `${GTAG};gtag("consent","default",${DENIED})` });
    await tab.goto(SITE + "/?gclid=g1");
    await tab.evaluate((denied) => {
      relay("begin_checkout", {});
      gtag("consent", "update", eval(`(${denied})`));
    }, DENIED);
    await pause(1200);
    await tab.goto(SITE + "/next");
    await pause(300);
    assert.equal(sent.length, 0);
    assert.deepEqual(await kept(tab), NOTHING);
  },

  async "consent given later sends what was held"(tab) {
    page = html({ before: `${GTAG};gtag("consent","default",${DENIED});window.early=1` });
    await tab.goto(SITE + "/product?gclid=g1&fbclid=f1&utm_source=x");
    const id = await tab.evaluate(() => relay("view_item", { items: [{ id: "SKU-1" }] }));
    await pause(700);
    assert.equal(sent.length, 0);
    await tab.evaluate((granted) => gtag("consent", "update", eval(`(${granted})`)), GRANTED);
    await until("the event", () => events().length === 1 && sent[0].status);
    await taken();
    const [event] = events();
    assert.equal(event.event_id, id, "the id that the page has for its pixels");
    assert.deepEqual(
      [event.click_ids.gclid, event.click_ids.fbclid, event.consent.ad_storage],
      ["g1", "f1", "granted"]
    );
    assert.match(event.click_ids.fbc, /^fb\.1\.\d+\.f1$/);
    assert.match(event.click_ids.fbp, /^fb\.1\.\d+\.\d+$/);
    assert.equal(event.context.page_url, SITE + "/product?gclid=g1&fbclid=f1&utm_source=x");
    await until("the cookies", async () => (await kept(tab)).cookies.includes("_relay_id"));
    const { cookies } = await kept(tab);
    assert.deepEqual(cookies, ["_fbc", "_fbp", "_relay_c", "_relay_id"]);
    const all = await tab.browserContext().cookies();
    const own = all.find((cookie) => cookie.name === "_relay_id");
    assert.ok(own.httpOnly && own.secure && own.sameSite === "Lax", JSON.stringify(own));
    assert.ok(all.every((cookie) => cookie.domain === ".shop.localhost"), JSON.stringify(all));
    assert.equal(await tab.evaluate(() => document.cookie.includes("_relay_id")), false);
    // A later page knows the click, and the relay knows the visitor.
    sent = [];
    await tab.goto(SITE + "/cart");
    await tab.evaluate((granted) => {
      gtag("consent", "update", eval(`(${granted})`));
      relay("add_to_cart", {});
    }, GRANTED);
    await until("the next event", () => events().length === 1 && sent[0].status);
    await taken();
    assert.equal(events()[0].click_ids.gclid, "g1");
    assert.ok(sent[0].headers.cookie.includes(`_relay_id=${own.value}`));
    // And when consent is withdrawn all of it goes, and the relay is told once.
    sent = [];
    await tab.evaluate((denied) => gtag("consent", "update", eval(`(${denied})`)), DENIED);
    await until("the withdrawal", () => sent.length === 1 && sent[0].status);
    assert.equal(sent[0].status, 202, sent[0].answer);
    assert.deepEqual(JSON.parse(sent[0].body).events, []);
    await until("nothing is left", async () => (await kept(tab)).cookies.length === 0);
    assert.deepEqual(await kept(tab), NOTHING);
    await tab.evaluate(() => relay("begin_checkout", {}));
    await pause(500);
    assert.equal(sent.length, 1);
  },

  async "what happened during a refusal is not sent once consent is given"(tab) {
    page = html({ before: GTAG });
    await tab.goto(SITE + "/?dicbo=o1");
    await tab.evaluate((denied) => {
      relay("view_item", {}, { eventID: "before" });
      gtag("consent", "update", eval(`(${denied})`));
    }, DENIED);
    await pause(700);
    await tab.evaluate(() => relay("begin_checkout", {}, { eventID: "during", user: { email: "jane@example.com" } }));
    await tab.evaluate((granted) => {
      gtag("consent", "update", eval(`(${granted})`));
      relay("add_to_cart", {}, { eventID: "after" });
    }, GRANTED);
    await until("the event", () => events().length > 0 && sent[0].status);
    await taken();
    assert.deepEqual(events().map((event) => event.event_id), ["after"]);
    assert.equal(events()[0].click_ids.ob_click_id, "o1");
    assert.equal(sent[0].body.includes("jane"), false);
  },

  async "only measuring was allowed: no click ids"(tab) {
    const consent = `{ad_storage:"denied",ad_user_data:"denied",analytics_storage:"granted"}`;
    page = html({ before: `${GTAG};gtag("consent","update",${consent})` });
    await tab.goto(SITE + "/?gclid=g1&fbclid=f1");
    await tab.evaluate(() => relay("begin_checkout", {}));
    await until("the event", () => events().length === 1 && sent[0].status);
    await taken();
    assert.equal(events()[0].click_ids, undefined);
    await until("the id", async () => (await kept(tab)).cookies.length > 0);
    assert.deepEqual((await kept(tab)).cookies, ["_relay_id"]);
  },

  async "Global Privacy Control stands above a grant"(tab) {
    await tab.evaluateOnNewDocument(() =>
      Object.defineProperty(Navigator.prototype, "globalPrivacyControl", { get: () => true })
    );
    page = html({ before: `${GTAG};gtag("consent","update",${GRANTED})`, attributes: `data-model="opt_out"` });
    await tab.goto(SITE + "/?gclid=g1");
    await tab.evaluate(() => relay("begin_checkout", {}));
    await pause(900);
    assert.equal(sent.length, 0);
    assert.deepEqual(await kept(tab), NOTHING);
  },

  async "where the site says so, what was refused is sent without anything of the person"(tab) {
    await tab.evaluateOnNewDocument(() =>
      Object.defineProperty(Navigator.prototype, "globalPrivacyControl", { get: () => true })
    );
    page = html({ attributes: `data-denied="send"` });
    await tab.goto(SITE + "/checkout?gclid=g1#top");
    await tab.evaluate(() => relay("begin_checkout", {}, { user: { email: "jane@example.com" } }));
    await until("the event", () => events().length === 1 && sent[0].status);
    await taken();
    const [event] = events();
    assert.deepEqual([event.user, event.click_ids, event.context.session_id], [undefined, undefined, undefined]);
    assert.equal(event.context.page_url, SITE + "/checkout");
    assert.equal(event.consent.gpc, true);
    assert.equal(sent[0].headers.cookie, undefined);
    assert.equal(sent[0].answered["set-cookie"], undefined);
    assert.deepEqual(await kept(tab), NOTHING);
  },

  async "an opt-out law's site sends until somebody opts out"(tab) {
    page = html({ attributes: `data-model="opt_out"` });
    await tab.goto(SITE + "/?gclid=g1");
    await tab.evaluate(() => relay("begin_checkout", {}));
    await until("the event", () => events().length === 1 && sent[0].status);
    await taken();
    assert.deepEqual([events()[0].click_ids.gclid, events()[0].consent], ["g1", {}]);
  },

  async "the TCF interface: shown, refused, granted"(tab) {
    const before = `window.__tcfapi = (command, version, done) => { window.tell = done;
      done({eventStatus: "cmpuishown", gdprApplies: true, tcString: ""}, true); }; ${GTAG};
      gtag("consent", "update", ${GRANTED})`;
    page = html({ before });
    await tab.goto(SITE + "/?gclid=g1");
    await tab.evaluate(() => relay("begin_checkout", {}));
    await pause(600);
    assert.equal(sent.length, 0, "the banner is open, whatever another signal says");
    const choose = (granted) =>
      tab.evaluate((granted) => {
        const data = { eventStatus: "useractioncomplete", gdprApplies: true, tcString: "CAAA", addtlConsent: "2~89~dv." };
        tell({ ...data, purpose: { consents: { 1: granted, 7: granted } } }, true);
      }, granted);
    await choose(false);
    await pause(400);
    assert.equal(sent.length, 0);
    assert.deepEqual(await kept(tab), NOTHING);
    await choose(true);
    await tab.evaluate(() => relay("add_to_cart", {}));
    await until("the event", () => events().length > 0 && sent[0].status);
    assert.deepEqual(events().map((event) => event.event), ["add_to_cart"], "nothing of before the refusal");
    const { consent } = events()[0];
    assert.deepEqual([consent.tcf, consent.gdpr_applies, consent.additional_consent], ["CAAA", true, "2~89~dv."]);
  },

  async "the GPP interface: an opt-out and none"(tab) {
    const before = `window.__gpp = (command, done) => { window.tell = (ready, out) => done({pingData: {
      signalStatus: ready ? "ready" : "not ready", gppString: "DBABBg~BVVVqAAAAAA.QA", applicableSections: [8],
      parsedSections: {usca: [{Version: 1, SaleOptOut: out ? 1 : 2, SharingOptOut: 2}, {Gpc: false}]}}}, true); tell(false, false); }`;
    page = html({ before });
    await tab.goto(SITE + "/");
    await tab.evaluate(() => relay("begin_checkout", {}));
    await pause(500);
    assert.equal(sent.length, 0);
    await tab.evaluate(() => tell(true, true));
    await pause(300);
    assert.equal(sent.length, 0);
    await tab.evaluate(() => {
      tell(true, false);
      relay("add_to_cart", {});
    });
    await until("the event", () => events().length === 1 && sent[0].status);
    assert.equal(events()[0].event, "add_to_cart", "nothing of before the opt-out");
    assert.deepEqual(events()[0].consent.gpp_sid, [8]);
  },

  async "what waits when a page is left arrives"(tab) {
    page = html({ before: `${GTAG};gtag("consent","update",${GRANTED})` });
    await tab.goto(SITE + "/");
    await until("the tag", () => tab.evaluate(() => !!relay.loaded));
    await tab.evaluate(() => {
      relay("begin_checkout", {}, { eventID: "left-1" });
      relay("add_payment_info", {}, { eventID: "left-2" });
      location.href = "/thanks";
    });
    // A copy may come twice, where the page ended before the answer: the relay counts it once.
    const ids = () => [...new Set(events().map((event) => event.event_id))];
    await until("both", () => ids().length === 2 && sent.every((call) => call.status));
    await taken();
    assert.deepEqual(ids(), ["left-1", "left-2"]);
    await until("the tag of the next page", () => tab.evaluate(() => !!relay.loaded));
    await tab.evaluate(() => relay("begin_checkout", {}, { eventID: "closed" }));
    await tab.close({ runBeforeUnload: true });
    await until("of a closed tab", () => ids().includes("closed"));
  },

  async "offline and back, and over a page's end"(tab) {
    page = html({ before: `${GTAG};gtag("consent","update",${GRANTED})` });
    await tab.goto(SITE + "/");
    await until("the tag", () => tab.evaluate(() => !!relay.loaded));
    await tab.setOfflineMode(true);
    await tab.evaluate(() =>
      relay("begin_checkout", {}, { eventID: "offline-1", user: { email: "jane@example.com" } })
    );
    await pause(500);
    assert.equal(sent.length, 0);
    const stored = await tab.evaluate(() => localStorage._relay_q);
    assert.ok(stored.includes("offline-1") && !stored.includes("jane"), stored);
    await tab.setOfflineMode(false);
    await until("the event", () => events().length === 1 && sent[0].status);
    await taken();
    assert.equal(events()[0].user.email, "jane@example.com");
    // The relay is away, and the visitor goes on to another page.
    sent = [];
    down = true;
    await tab.evaluate(() => relay("add_to_cart", {}, { eventID: "offline-2" }));
    await until("it was tried", () => tab.evaluate(() => localStorage._relay_q.includes("offline-2")));
    await pause(300);
    await tab.goto("about:blank");
    await pause(300);
    down = false;
    await tab.goto(SITE + "/later");
    await until("the event of the page before", () => named("add_to_cart").length > 0 && sent[0].status);
    await taken();
    assert.equal(named("add_to_cart")[0].event_id, "offline-2");
    await until("it is kept no longer", () => tab.evaluate(() => localStorage._relay_q === "[]"));
  },

  async "pages of a single-page application"(tab) {
    page = html({ before: `${GTAG};gtag("consent","update",${GRANTED})`, modules: "pages" });
    await tab.goto(SITE + "/a");
    await until("the first page", () => named("page_view").length === 1);
    await tab.evaluate(() => history.pushState({}, "", "/b?gclid=spa"));
    await until("the second", () => named("page_view").length === 2);
    await tab.evaluate(() => history.replaceState({}, "", "/b?gclid=spa#part"));
    await tab.evaluate(() => history.back());
    await until("the first again", () => named("page_view").length === 3);
    const views = named("page_view").map(({ context }) => [context.page_url, context.referrer].map((url) => url.replace(SITE, "")));
    assert.deepEqual(views, [["/a", ""], ["/b?gclid=spa", "/a"], ["/a", "/b?gclid=spa"]]);
    assert.equal(named("page_view")[1].click_ids.gclid, "spa");
    await taken();
  },

  async "attributes, forms, links"(tab) {
    const body = `<button id=b data-relay-event="begin_checkout" data-relay-value="5.00" data-relay-cart-size="2"
        data-relay-event-id="mine">Buy</button>
      <form id=f name=lead action="/lead" data-relay-event="sign_up"><input id=i name=email><button id=s>Send</button></form>
      <a id=a href="http://other.localhost/x">out</a><a id=h href="/in">in</a>
      <script>addEventListener("submit", e => e.preventDefault()); addEventListener("click", e => e.target.href && e.preventDefault())</script>`;
    page = html({ before: `${GTAG};gtag("consent","update",${GRANTED})`, modules: "forms,links", body });
    await tab.goto(SITE + "/");
    await until("the tag", () => tab.evaluate(() => !!relay.loaded));
    await tab.click("#b");
    await tab.type("#i", "jane@example.com", { delay: 20 });
    await tab.click("#s");
    await tab.click("#a");
    await tab.click("#h");
    await until("all of them", () => events().length === 5 && sent.every((call) => call.status));
    await taken();
    const by = Object.fromEntries(events().map((event) => [event.event, event]));
    assert.deepEqual(Object.keys(by).sort(), ["begin_checkout", "click", "form_start", "form_submit", "sign_up"]);
    assert.equal(by.begin_checkout.event_id, "mine");
    assert.deepEqual(by.begin_checkout.properties, { value: "5.00", cart_size: 2 });
    assert.deepEqual([by.form_submit.properties.form_id, by.form_submit.properties.form_destination], ["f", "/lead"]);
    assert.equal(by.click.properties.link_domain, "other.localhost");
    assert.ok(!sent.some((call) => call.body.includes("jane@example.com")), "never what was written");
  },

  async "scroll depth"(tab) {
    const body = `<div style="height:4000px">long</div>`;
    page = html({ before: `${GTAG};gtag("consent","update",${GRANTED})`, modules: "scroll", body });
    await tab.goto(SITE + "/");
    await until("the tag", () => tab.evaluate(() => !!relay.loaded));
    await tab.evaluate(() => scrollTo(0, 4000));
    await pause(300);
    assert.equal(named("scroll").length, 0, "nobody touched anything");
    await tab.evaluate(() => scrollTo(0, 0));
    for (let i = 0; i < 12; i++) {
      await tab.mouse.wheel({ deltaY: 500 });
      await pause(60);
    }
    await until("the end", () => named("scroll").length === 5 && sent.every((call) => call.status));
    await taken();
    assert.deepEqual(named("scroll").map((event) => event.properties.scroll_depth), [25, 50, 75, 90, 100]);
  },

  async "video progress"(tab) {
    const body = `<video id=v muted title="Tour" src="/clip.wav"></video>`;
    page = html({ before: `${GTAG};gtag("consent","update",${GRANTED})`, modules: "video", body });
    await tab.goto(SITE + "/");
    await until("the tag", () => tab.evaluate(() => !!relay.loaded));
    const play = () => tab.evaluate(() => document.querySelector("#v").play());
    await play();
    const ended = () => tab.evaluate(() => document.querySelector("#v").ended);
    await until("the end", ended);
    await until("all of it", () => events().length === 5 && sent.every((call) => call.status));
    await taken();
    assert.deepEqual(
      events().map((event) => [event.event, event.properties.video_percent]),
      [["video_start", 0], ["video_progress", 25], ["video_progress", 50], ["video_progress", 75], ["video_complete", 100]]
    );
    const { video_title, video_duration, video_url } = events()[4].properties;
    assert.deepEqual([video_title, video_duration, video_url], ["Tour", 3, SITE + "/clip.wav"]);
    // Seen again it is the same source.
    await play();
    await until("the end again", ended);
    await pause(600);
    assert.equal(events().length, 5);
  },

  async "an integrity hash is held against what is served"(tab) {
    const described = await (await fetch(new URL("/v1/relay.js.json?m=scroll", relay))).json();
    const before = `${GTAG};gtag("consent","update",${GRANTED})`;
    const own = (integrity) =>
      html({ before, attributes: `crossorigin="anonymous" integrity="${integrity}"` }).replace("/v1/relay.js", described.path);
    page = own(described.integrity);
    await tab.goto(SITE + "/");
    await until("the tag", () => tab.evaluate(() => !!relay.loaded));
    page = own(described.integrity.replace(/.{8}$/, "AAAAAAAA"));
    await tab.goto(SITE + "/changed");
    await pause(500);
    assert.equal(await tab.evaluate(() => !!relay.loaded), false);
  },

  async "a page of another origin may not post"(tab) {
    page = html({ before: `${GTAG};gtag("consent","update",${GRANTED})` });
    await tab.goto("http://evil.localhost/");
    const tried = await tab.evaluate(async (url) => {
      const post = (headers) => fetch(url, { method: "POST", headers, body: "[]", credentials: "include" }).then(() => "read", () => "refused");
      return [await post({}), await post({ "content-type": "application/json" })];
    }, `${RELAY}/v1/beacon?key=${KEY}`);
    assert.deepEqual(tried, ["refused", "refused"]);
    await until("both", () => sent.length >= 2 && sent.every((call) => call.status));
    assert.ok(sent.some((call) => call.method === "OPTIONS"));
    for (const call of sent) {
      assert.equal(call.status, 403);
      assert.equal(call.answered["access-control-allow-origin"], undefined);
    }
  },
};

(async () => {
  const [sitePort, proxyPort] = [await listen(site), await listen(proxy)];
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), "relay-tag-"));
  const rules = [
    `MAP www.shop.localhost 127.0.0.1:${sitePort}`,
    `MAP evil.localhost 127.0.0.1:${sitePort}`,
    `MAP t.shop.localhost 127.0.0.1:${proxyPort}`,
  ];
  const browser = await puppeteer.launch({
    executablePath: process.env.CHROMIUM,
    userDataDir: profile,
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", `--host-resolver-rules=${rules.join(",")}`],
  });
  let failed = 0;
  const only = process.env.ONLY;
  for (const [name, run] of Object.entries(cases)) {
    if (only && !name.includes(only)) continue;
    const context = await browser.createBrowserContext();
    sent = [];
    down = false;
    try {
      const tab = await context.newPage();
      const errors = [];
      tab.on("pageerror", (error) => errors.push(error.message));
      await run(tab);
      assert.deepEqual(errors, []);
      console.log(`ok ${name}`);
    } catch (error) {
      failed++;
      console.log(`FAILED ${name}\n${error.stack}`);
    }
    await context.close().catch(() => {});
  }
  await browser.close();
  fs.rmSync(profile, { recursive: true, force: true });
  site.closeAllConnections();
  proxy.closeAllConnections();
  process.exit(failed ? 1 : 0);
})();
