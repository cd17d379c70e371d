#!/usr/bin/env node
// Posts one event with Node's own fetch (Node 18 and newer). RELAY_URL and RELAY_WRITE_KEY say where
// and as whom; the argument is the event's own id. Sending it again with the same id does no harm.

const url = `${process.env.RELAY_URL ?? "http://127.0.0.1:8080"}/v1/events`;
const key = process.env.RELAY_WRITE_KEY ?? "dev-key";

/** The relay's answer; waits where it asks for that. */
async function send(event, tries = 5) {
  for (let attempt = 1; ; attempt++) {
    let wait = 2 ** attempt;
    try {
      const answer = await fetch(url, {
        method: "POST",
        headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
        body: JSON.stringify(event),
        signal: AbortSignal.timeout(30_000),
      });
      if (answer.ok) return await answer.json();
      const why = `${answer.status}: ${await answer.text()}`;
      if (![429, 503].includes(answer.status) || attempt === tries) throw new Error(why, { cause: "answered" });
      wait = Number(answer.headers.get("retry-after") ?? wait);
    } catch (error) {
      if (error.cause === "answered" || attempt === tries) throw error;
    }
    await new Promise((done) => setTimeout(done, wait * 1000));
  }
}

const order = process.argv[2] ?? "order-1001";
const answer = await send({
  event: "purchase",
  event_id: order,
  timestamp: new Date().toISOString(),
  site: "shop_us",
  user: { external_id: "u-1029", email: "jane.doe@example.com" },
  click_ids: { gclid: "EAIaIQ-example" },
  consent: {
    ad_storage: "granted",
    ad_user_data: "granted",
    ad_personalization: "denied",
    analytics_storage: "granted",
    region: "US-NY",
  },
  properties: {
    order_id: order,
    // Money as text, so that no float rounds it.
    value: "129.90",
    currency: "USD",
    items: [{ id: "SKU-1", name: "Shoe", quantity: 1, price: "129.90" }],
  },
});
console.log(JSON.stringify(answer));
