// Has the real SDKs of Segment and RudderStack send to a relay, with nothing changed but their host,
// and looks at what arrives at the sandbox's platforms.
//
// usage: doors.cjs RELAY node|browser
'use strict';
const assert = require('node:assert');
const crypto = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const { spawn } = require('node:child_process');

const [relayBinary, part] = process.argv.slice(2);
const root = path.join(__dirname, '..', '..');
const KEY = 'dev-key', TAG = 'dev-key-tag';
const EMAIL = 'jane@example.com';
const sha256 = text => crypto.createHash('sha256').update(text).digest('hex');

const PRODUCTS = [
  { product_id: 'SKU-1', name: 'Shoe', price: 12.5, quantity: 2, brand: 'Acme' },
  { product_id: 'SKU-2', name: 'Sock', price: 2.5, quantity: 1 },
];
const order = id => ({ order_id: id, revenue: 27.5, currency: 'USD', products: PRODUCTS });
const categories = { consent: { categoryPreferences: { C0002: true, C0004: true } } };
const refused = { consent: { categoryPreferences: { C0002: false, C0004: false } } };
const management = { consentManagement: { provider: 'custom', allowedConsentIds: ['C0002', 'C0004'], deniedConsentIds: [] } };
const visit = {
  ip: '203.0.113.9', userAgent: 'Mozilla/5.0 (X11; Linux x86_64)',
  page: { url: 'https://shop.example/thanks?gclid=G-1', referrer: 'https://www.example.com/' },
  traits: { email: EMAIL },
};

function startPages() {
  const modules = (process.env.NODE_PATH || '').split(':')[0];
  const files = {
    '/segment.js': path.join(modules, '@segment/analytics-next/dist/umd/index.js'),
    '/rudder.js': path.join(modules, '@rudderstack/analytics-js/dist/npm/modern/bundled/umd/index.js'),
  };
  const server = http.createServer((request, response) => {
    const name = request.url.split('?')[0];
    if (files[name]) {
      response.setHeader('content-type', 'text/javascript');
      return fs.createReadStream(files[name]).pipe(response);
    }
    response.setHeader('content-type', 'text/html');
    response.end('<!doctype html><title>shop</title><body>shop');
  });
  return new Promise(done => server.listen(0, '127.0.0.1', () => done(server)));
}

async function startRelay(origin) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'relay-sdk-'));
  const config = path.join(dir, 'config');
  fs.cpSync(path.join(root, 'config'), config, { recursive: true });
  const file = path.join(config, 'relay.toml');
  let text = fs.readFileSync(file, 'utf8').replace(/127\.0\.0\.1:80(80|81|90)/g, '127.0.0.1:0');
  text = text.replace('origins = ["https://shop.example"', `events = ["*", "Order Completed"]\nsites = ["shop_us"]\norigins = ["${origin}", "https://shop.example"`);
  text = text.replace('sites = ["shop_us", "shop_eu"] #', 'site = "shop_us" #');
  fs.writeFileSync(file, text);
  const child = spawn(relayBinary, ['serve', '--config', config, '--data', path.join(dir, 'data')], { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  child.stderr.on('data', bytes => { log += bytes; });
  const ready = await new Promise((done, fail) => {
    let out = '';
    child.stdout.on('data', bytes => {
      out += bytes;
      if (out.includes('\n')) done(JSON.parse(out.split('\n')[0]));
    });
    child.on('exit', () => fail(new Error(`the relay did not start:\n${log}`)));
  });
  return { ...ready, stop: () => { child.removeAllListeners('exit'); child.kill(); fs.rmSync(dir, { recursive: true, force: true }); } };
}

// What a platform got, by event id.
async function received(relay, platform, id) {
  for (let i = 0; i < 150; i++) {
    const lines = await (await fetch(`${relay.sandbox}/sandbox/v1/received?platform=${platform}`)).text();
    const calls = lines.split('\n').filter(Boolean).map(line => JSON.parse(line));
    const found = calls.filter(call => JSON.stringify(call.body).includes(id));
    if (found.length) return found;
    await new Promise(done => setTimeout(done, 100));
  }
  throw new Error(`${platform} never got ${id}`);
}

async function trace(relay, id) {
  const answer = await fetch(`${relay.admin}/admin/v1/events/${id}`, { headers: { authorization: 'Bearer dev-token' } });
  return { status: answer.status, text: await answer.text() };
}

function checkMeta(calls, id, orderId) {
  const event = calls.flatMap(call => call.body.data || []).find(event => event.event_id === id);
  assert(event, `Meta got ${id}`);
  assert.strictEqual(event.event_name, 'Purchase');
  assert.strictEqual(event.custom_data.order_id, orderId);
  assert.strictEqual(Number(event.custom_data.value), 27.5);
  assert.strictEqual(event.custom_data.currency, 'USD');
  assert.deepStrictEqual(event.custom_data.contents.map(item => [item.id, item.quantity]), [['SKU-1', 2], ['SKU-2', 1]]);
  assert.deepStrictEqual([].concat(event.user_data.em), [sha256(EMAIL)]);
  return event;
}

function checkGoogle(calls, orderId) {
  const event = calls.flatMap(call => call.body.events || []).find(event => event.transactionId === orderId);
  assert(event, `Google Ads got ${orderId}`);
  assert.strictEqual(event.conversionValue, 27.5);
  assert.strictEqual(event.consent.adUserData, 'CONSENT_GRANTED');
  assert.strictEqual(event.userData.userIdentifiers[0].emailAddress, sha256(EMAIL));
  return event;
}

async function node(relay) {
  const { Analytics } = require('@segment/analytics-node');
  const segment = new Analytics({ writeKey: KEY, host: relay.public, flushAt: 10, flushInterval: 100 });
  segment.on('error', error => { throw new Error(`segment: ${JSON.stringify(error)}`); });
  const settled = [];
  const send = what => settled.push(new Promise((done, fail) => segment.track(what, (error, context) => (error ? fail(error) : done(context)))));
  send({ event: 'Order Completed', userId: 'u-1', messageId: 'seg-node-1', context: { ...visit, ...categories }, properties: order('o-seg-node') });
  send({ event: 'Order Completed', userId: 'u-2', messageId: 'seg-node-2', context: { ...visit, traits: { email: 'other@example.com' }, ...refused }, properties: order('o-seg-refused') });
  send({ event: 'Order Completed', userId: 'u-3', messageId: 'seg-node-3', context: { ...visit, ...categories }, integrations: { 'Facebook Pixel': false }, properties: order('o-seg-switched') });
  segment.identify({ userId: 'u-1', traits: { email: EMAIL }, context: categories });
  segment.group({ userId: 'u-1', groupId: 'g-1' });
  segment.alias({ userId: 'u-1', previousId: 'a-1' });
  segment.page({ userId: 'u-1', name: 'Home', properties: { url: 'https://shop.example/' } });
  await segment.closeAndFlush({ timeout: 5000 });
  await Promise.all(settled);
  const event = checkMeta(await received(relay, 'meta', 'seg-node-1'), 'seg-node-1', 'o-seg-node');
  assert.deepStrictEqual([].concat(event.user_data.external_id), [sha256('u-1')]);
  const google = checkGoogle(await received(relay, 'google_ads', 'o-seg-node'), 'o-seg-node');
  assert.strictEqual(google.adIdentifiers.gclid, 'G-1');
  await received(relay, 'google_ads', 'o-seg-switched');
  assert((await trace(relay, 'seg-node-3')).text.includes('integrations'), 'the trace says why');
  const meta = await (await fetch(`${relay.sandbox}/sandbox/v1/received?platform=meta`)).text();
  assert(!meta.includes('seg-node-3') && !meta.includes('seg-node-2'), 'what is off or refused stays here');
  console.log('@segment/analytics-node: ok');

  const Rudder = require('@rudderstack/rudder-sdk-node');
  const rudder = new (Rudder.default || Rudder)(KEY, { dataPlaneUrl: relay.public, flushAt: 1, logLevel: 'error', gzip: true });
  await new Promise((done, fail) => rudder.track({
    event: 'Order Completed', userId: 'u-9', messageId: 'rud-node-1',
    context: { ...visit, ...management }, properties: order('o-rud-node'),
  }, error => (error ? fail(error) : done())));
  await new Promise(done => rudder.flush(() => done()));
  checkMeta(await received(relay, 'meta', 'rud-node-1'), 'rud-node-1', 'o-rud-node');
  checkGoogle(await received(relay, 'google_ads', 'o-rud-node'), 'o-rud-node');
  console.log('@rudderstack/rudder-sdk-node: ok');
}

async function browser(relay, origin) {
  const puppeteer = require('puppeteer-core');
  const chromium = await puppeteer.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] });
  try {
    const host = relay.public.replace('http://', '');
    for (const name of ['segment', 'rudder']) {
      const page = await chromium.newPage();
      const problems = [];
      page.on('pageerror', error => problems.push(String(error)));
      page.on('console', message => problems.push(message.text()));
      page.on('requestfailed', request => problems.push(`${request.url()} ${request.failure()?.errorText}`));
      await page.goto(`${origin}/thanks?gclid=G-web`);
      await page.addScriptTag({ url: `${origin}/${name}.js` });
      const properties = order(`o-${name}-web`);
      try {
        if (name === 'segment') {
          await page.evaluate(async (key, relay, host, properties, context, email) => {
            const Loaded = window.AnalyticsNext || window.analytics;
            const [analytics] = await Loaded.AnalyticsBrowser.load(
              { writeKey: key, cdnURL: relay },
              { integrations: { 'Segment.io': { apiHost: `${host}/v1`, protocol: 'http' } } });
            await analytics.identify('u-web', { email }, { context });
            await analytics.track('Order Completed', properties, { context: { ...context, traits: { email } } });
          }, TAG, relay.public, host, properties, categories, EMAIL);
        } else {
          await page.evaluate(async (key, relay, properties, email) => {
            const RudderAnalytics = (window.rudderanalytics && window.rudderanalytics.RudderAnalytics) || window.RudderAnalytics;
            const rudder = new RudderAnalytics();
            rudder.load(key, relay, {
              configUrl: relay,
              consentManagement: { enabled: true, provider: 'custom', allowedConsentIds: ['C0002', 'C0004'], deniedConsentIds: [] },
            });
            await new Promise(done => rudder.ready(done));
            rudder.identify('u-web', { email });
            rudder.track('Order Completed', properties);
            await new Promise(done => setTimeout(done, 1500));
          }, TAG, relay.public, properties, EMAIL);
        }
        const event = (await received(relay, 'meta', `o-${name}-web`)).flatMap(call => call.body.data)
          .find(event => event.custom_data && event.custom_data.order_id === `o-${name}-web`);
        checkMeta(await received(relay, 'meta', event.event_id), event.event_id, `o-${name}-web`);
        assert(event.user_data.client_user_agent.includes('Chrome'), 'the browser itself');
        const google = checkGoogle(await received(relay, 'google_ads', `o-${name}-web`), `o-${name}-web`);
        assert.strictEqual(google.adIdentifiers.gclid, 'G-web');
      } catch (error) {
        throw new Error(`${name}: ${error.stack}\n${problems.join('\n')}`);
      }
      console.log(`${name === 'segment' ? '@segment/analytics-next' : '@rudderstack/analytics-js'}: ok`);
      await page.close();
    }
  } finally {
    await chromium.close();
  }
}

(async () => {
  const pages = await startPages();
  const origin = `http://127.0.0.1:${pages.address().port}`;
  const relay = await startRelay(origin);
  try {
    await (part === 'browser' ? browser(relay, origin) : node(relay));
  } finally {
    relay.stop();
    pages.close();
  }
  process.exit(0);
})().catch(error => { console.error(error); process.exit(1); });
