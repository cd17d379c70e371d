// The tag's core: consent, click ids, sending. Plain ES2018, no dependency, no build step.
//
// It reads what the visitor chose before it does anything: until a choice is known, events wait in
// memory, and there is no cookie, no storage and no request. A refusal leaves it at that. What the
// server may make of an event is decided there; the tag only never does more than it may.
//
// What is served is core.min.js, which `src/http/tag/build` makes of this.
(function (window, document, navigator) {
  "use strict";
  const stub = window.relay || {};
  const script = document.currentScript || document.querySelector("script[data-key]");
  if (stub.loaded || !script) return;
  const settings = script.dataset;
  const endpoint = settings.endpoint || script.src.replace(/\/v1\/relay\.js.*/, "/v1/beacon");
  const QUEUE = "_relay_q", SESSION = "_relay_s", CLICKS = "_relay_c";
  const DAYS_90 = 7776000;
  const PURPOSES = ["ad_storage", "ad_user_data", "ad_personalization", "analytics_storage"];

  // What waits to be sent, oldest first; how many of the first are on their way.
  let queue = [], flying = 0, tries = 0, timer;
  // What goes with every event, in the relay's words.
  const said = {};
  // true, false, or undefined: not known.
  let ads, stats, tcf, optedOut, mayUnlessOptedOut, allowed, denied;
  // Purposes whose value is only a default, and interfaces that have not answered yet.
  const defaults = {}, waiting = {}, asked = {};
  // Click ids of this page, in memory until they may be kept.
  const clicks = {};

  const random = () => Math.random().toString(36).slice(2);
  const newId = () =>
    window.isSecureContext && crypto.randomUUID ? crypto.randomUUID() : random() + Date.now().toString(36);
  const attempt = (act) => {
    try {
      return act();
    } catch (ignored) {}
  };

  // === consent ===

  const mode = (kind, values) => {
    for (const purpose of PURPOSES) {
      const value = values[purpose];
      // Where a default of some regions holds cannot be known here: its refusal counts everywhere,
      // its grant nowhere.
      if (!/^(granted|denied)$/.test(value) || (kind === "default" && value !== "denied" && (values.region || said[purpose]))) continue;
      defaults[purpose] = kind === "default";
      said[purpose] = value;
    }
  };

  const fromLayer = (entry) => {
    if (entry && entry[0] === "consent" && entry[2] && entry[1] !== "get") {
      mode(entry[1], entry[2]);
      return true;
    }
  };

  const onTcf = (data, ok) => {
    if (!ok || !data || data.eventStatus === "cmpuishown") return;
    waiting.tcf = false;
    said.gdpr_applies = data.gdprApplies;
    tcf = undefined;
    if (data.gdprApplies !== false) {
      said.tcf = data.tcString;
      said.additional_consent = data.addtlConsent;
      tcf = !!(data.purpose && data.purpose.consents && data.purpose.consents[1]);
    }
    decide();
  };

  const onGpp = (event, ok) => {
    const ping = event && event.pingData;
    if (!ok || !ping || ping.signalStatus !== "ready") return;
    waiting.gpp = false;
    said.gpp = ping.gppString;
    said.gpp_sid = ping.applicableSections;
    const sections = ping.parsedSections || {};
    optedOut = mayUnlessOptedOut = false;
    for (const name in sections) {
      for (const part of [].concat(sections[name])) {
        if (/^us/.test(name) && part) {
          mayUnlessOptedOut = true;
          optedOut =
            optedOut || part.Gpc || [part.SaleOptOut, part.SharingOptOut, part.TargetedAdvertisingOptOut].includes(1);
        }
      }
    }
    decide();
  };

  const onUsp = (data, ok) => {
    if (ok && data) said.us_privacy = data.uspString;
    decide();
  };

  // Asks every interface that is there, once; those that come later are found by the timer below.
  const look = () => {
    const once = (name, ask) => {
      if (window[name] && asked[name] !== window[name]) {
        asked[name] = window[name];
        attempt(ask);
        decide();
      }
    };
    once("__tcfapi", () => {
      waiting.tcf = true;
      window.__tcfapi("addEventListener", 2, onTcf);
    });
    once("__gpp", () => {
      waiting.gpp = true;
      window.__gpp("addEventListener", onGpp);
    });
    once("__uspapi", () => window.__uspapi("getUSPData", 1, onUsp));
    once(settings.layer || "dataLayer", () => {
      const layer = asked[settings.layer || "dataLayer"], push = layer.push;
      layer.forEach(fromLayer);
      layer.push = function () {
        const result = push.apply(layer, arguments);
        if ([].map.call(arguments, fromLayer).some(Boolean)) decide();
        return result;
      };
    });
  };

  // Whether anything may be sent: allowed, or refused where the site sends what was refused, too.
  const mayGo = () => allowed || (denied && settings.denied === "send");

  // The strictest signal wins.
  const decide = () => {
    const out = said.gpc || optedOut || /^1.Y/i.test(said.us_privacy);
    const free = settings.model === "opt_out" || mayUnlessOptedOut || /^1.N/i.test(said.us_privacy);
    const of = (purpose, granted) => {
      if (out || tcf === false) return false;
      if (said[purpose] === "denied") return defaults[purpose] ? undefined : false;
      return said[purpose] === "granted" || granted || free || undefined;
    };
    ads = of("ad_storage", tcf);
    stats = of("analytics_storage");
    const known = !waiting.tcf && !waiting.gpp;
    allowed = (known || out) && !!(ads || stats);
    denied = !allowed && (ads === false || stats === false) && (known || out);
    if (allowed) keep();
    if (denied) forget();
    later(0);
  };

  // === what is kept, with consent only ===

  const cookie = (name) => (document.cookie.match("(?:^|; )" + name + "=([^;]*)") || [])[1];

  // On the widest domain that the browser takes, so that the site's other hosts see it too. Age 0
  // removes it from all of them.
  const write = (name, value, age) => {
    const labels = location.hostname.split(".");
    for (let from = labels.length - 1; from >= -1; from--) {
      const domain = from < 0 ? "" : ";domain=" + labels.slice(from).join(".");
      const secure = location.protocol === "https:" ? ";secure" : "";
      document.cookie = name + "=" + value + ";path=/;samesite=lax;max-age=" + age + domain + secure;
      if (age && cookie(name) === value) break;
    }
  };

  const readClicks = () => {
    new URLSearchParams(location.search).forEach((value, name) => {
      name = name.toLowerCase().replace(/^dicbo$/, "ob_click_id");
      if (
        /^(gclid|gbraid|wbraid|dclid|fbclid|ctwa_clid|msclkid|ttclid|twclid|li_fat_id|sccid|epik|rdt_cid|amzn_click_id|oppref|qclid|tblci|ob_click_id)$/.test(name) &&
        value && value.length < 500 && clicks[name] !== value
      ) {
        clicks[name] = value;
        clicks.clicked_at = new Date().toISOString();
      }
    });
  };

  // Who the visitor is stays in memory: what is stored lies in clear on a machine that others use too.
  const store = () => {
    const nobody = (event) => Object.assign({}, event, { user: undefined });
    if (allowed) attempt(() => localStorage.setItem(QUEUE, JSON.stringify(queue.map(nobody))));
  };

  let session;
  const keep = () => {
    if (!session) {
      attempt(() => {
        session = sessionStorage.getItem(SESSION) || newId();
        sessionStorage.setItem(SESSION, session);
        // What an earlier page could not send.
        const ids = queue.map((event) => event.event_id);
        const kept = JSON.parse(localStorage.getItem(QUEUE) || "[]");
        queue = kept.filter((event) => !ids.includes(event.event_id)).concat(queue);
      });
      store();
    }
    if (ads) {
      const before = cookie(CLICKS);
      const kept = attempt(() => JSON.parse(decodeURIComponent(before)));
      for (const name in kept) if (!(name in clicks)) clicks[name] = kept[name];
      const after = encodeURIComponent(JSON.stringify(clicks));
      if (clicks.clicked_at && after !== before) write(CLICKS, after, DAYS_90);
      const fbc = cookie("_fbc") || "";
      if (clicks.fbclid && !fbc.endsWith("." + clicks.fbclid)) {
        write("_fbc", "fb.1." + Date.parse(clicks.clicked_at) + "." + clicks.fbclid, DAYS_90);
      }
      if (!cookie("_fbp")) write("_fbp", "fb.1." + Date.now() + "." + Math.floor(Math.random() * 1e10), DAYS_90);
    } else if (ads === false) {
      forgetClicks();
    }
  };

  const forgetClicks = () => {
    for (const name of [CLICKS, "_fbp", "_fbc"]) if (cookie(name)) write(name, "", 0);
  };

  // Consent was withdrawn, on this page or since an earlier one: the relay is told once, so that it
  // forgets too. Where there was none, nothing happens at all.
  const forget = () => {
    // What happened before or during a refusal is not what a later grant is about.
    if (!mayGo()) queue = [];
    forgetClicks();
    const had = attempt(() => localStorage.getItem(QUEUE));
    attempt(() => {
      localStorage.removeItem(QUEUE);
      sessionStorage.removeItem(SESSION);
    });
    if (session || had) {
      session = undefined;
      navigator.sendBeacon(endpoint, JSON.stringify({ key: settings.key, events: [], consent: said }));
    }
  };

  // === sending ===

  // An event as it is sent now: with today's consent, and no more than that allows.
  const wire = (event) => {
    const sent = Object.assign({}, event, { sent_at: new Date().toISOString(), consent: said });
    const context = (sent.context = Object.assign({}, event.context));
    if (allowed) {
      context.session_id = session;
    } else {
      delete sent.user;
      delete sent.lead;
      context.page_url = context.page_url.replace(/[?#].*/, "");
      delete context.referrer;
    }
    if (ads) {
      sent.click_ids = Object.assign({}, clicks, event.click_ids);
      const pattern = /(?:^|; )_(?:(fbp|fbc|ttp|uetvid|scid|epik|rdt_uuid)=|ga=GA\d\.\d\.)([^;]+)/g;
      let found;
      while ((found = pattern.exec(document.cookie))) sent.click_ids[found[1] || "ga_client_id"] = found[2];
    }
    return sent;
  };

  const later = (delay) => {
    clearTimeout(timer);
    timer = setTimeout(flush, delay);
  };

  const flush = (leaving) => {
    const waits = queue.slice(flying, flying + 50);
    if (!waits.length || (flying && !leaving) || !mayGo()) return;
    let body;
    // What may be on its way when a page ends is limited to 64 KiB.
    while ((body = JSON.stringify({ key: settings.key, events: waits.map(wire) })).length > 6e4 && waits[1]) {
      waits.length = waits.length >> 1;
    }
    if (leaving && allowed) {
      // Nobody says what became of a beacon: after trouble it is kept for the next page, too, and
      // the relay knows the second copy by its id.
      if (navigator.sendBeacon(endpoint, body) && !tries && navigator.onLine) {
        queue.splice(flying, waits.length);
        store();
        flush(true);
      }
      return;
    }
    flying = waits.length;
    const done = (answered) => {
      flying = 0;
      if (answered) {
        queue = queue.filter((event) => !waits.includes(event));
        tries = 0;
        store();
        later(0);
      } else if (tries < 10) {
        later(Math.min(1000 * 2 ** tries++, 6e4));
      }
    };
    fetch(endpoint, { method: "POST", body, keepalive: body.length < 6e4, credentials: allowed ? "include" : "omit" })
      .then((answer) => answer.status < 500 && answer.status !== 429)
      .then(done, () => done());
  };

  // relay("name", properties, {eventID, user, ...}): the event's id, for a platform's own pixel.
  const relay = (name, properties, more) => {
    if (name === "consent") {
      mode("update", properties || {});
      return decide();
    }
    more = more || {};
    const context = { page_url: location.href, referrer: document.referrer, locale: navigator.language };
    const event = Object.assign({ timestamp: new Date().toISOString(), site: settings.site }, more, {
      event: name,
      event_id: more.eventID || newId(),
      properties: properties || {},
      context: Object.assign(context, more.context),
    });
    delete event.eventID;
    readClicks();
    if (!denied || mayGo()) queue = queue.concat(event).slice(-100);
    if (allowed) keep();
    store();
    later(20);
    return event.event_id;
  };

  // === the page ===

  const declared = (event) => {
    const element = event.target.closest && event.target.closest("[data-relay-event]");
    if (!element || (element.tagName === "FORM") !== (event.type === "submit")) return;
    const properties = {}, data = element.dataset;
    for (const name in data) {
      if (/^relay(?!Event$|EventId$)./.test(name)) {
        const words = name.slice(5).replace(/[A-Z]/g, (letter) => "_" + letter.toLowerCase());
        // Whole numbers are numbers, so that criteria can count with them; money stays exact text.
        properties[words.slice(1)] = /^(0|[1-9]\d{0,14})$/.test(data[name]) ? +data[name] : data[name];
      }
    }
    relay(data.relayEvent, properties, { eventID: data.relayEventId });
  };

  relay.loaded = true;
  window.relay = relay;
  // Where the page's consent platform comes later, it finds the layer that is listened to.
  window[settings.layer || "dataLayer"] = window[settings.layer || "dataLayer"] || [];
  if (navigator.globalPrivacyControl) said.gpc = true;
  readClicks();
  look();
  for (const call of stub.q || []) relay.apply(null, call);
  document.addEventListener("click", declared, true);
  document.addEventListener("submit", declared, true);
  setInterval(look, 500);
  addEventListener("online", () => later((tries = 0)));
  addEventListener("pagehide", () => flush(true));
  document.addEventListener("visibilitychange", () => document.hidden && flush(true));
})(window, document, navigator);
