// Makes tests/vectors/*.json with the reference libraries, which decide what is expected.
//
//   mkdir /tmp/vectors && cd /tmp/vectors
//   npm install @iabtechlabtcf/core@1.5.21 @iabgpp/cmpapi@3.2.0
//   NODE_PATH=node_modules node .../tests/vectors/generate.cjs .../tests/vectors
//
// Strings are made and read back by the libraries; "expected" is what they read, in snake_case,
// bit lists as lists of ids and vendor lists as ranges. "malformed.json" holds strings that must be
// refused; some of them the libraries accept. The run is deterministic: a seeded generator and fixed
// times.
"use strict";
const fs = require("fs");
const path = require("path");
const modules = process.env.NODE_PATH.split(path.delimiter)[0];
const gppLib = path.resolve(modules, "@iabgpp/cmpapi/lib/cjs/encoder");
const tcfLib = path.resolve(modules, "@iabtechlabtcf/core/lib/cjs");
const { GppModel } = require(gppLib + "/GppModel.js");
const { RangeEntry } = require(gppLib + "/datatype/RangeEntry.js");
const { TCModel, TCString, PurposeRestriction } = require(tcfLib);
const { SegmentEncoder } = require(tcfLib + "/encoder/SegmentEncoder.js");
const { Segment } = require(tcfLib + "/model/Segment.js");
const out = process.argv[2];

// === numbers that look random and are not ===

let seed = 20261122;
function random() {
  // mulberry32
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}
const below = (n) => Math.floor(random() * n);
const some = (max, share) => {
  const ids = [];
  for (let id = 1; id <= max; id++) if (random() < share) ids.push(id);
  return ids;
};

// === the shape of what is expected ===

const snake = (name) =>
  name.replace(/([a-z])([A-Z])/g, "$1_$2").replace(/([A-Z])([A-Z][a-z])/g, "$1_$2").toLowerCase();

function ranges(ids) {
  const all = [...new Set(ids)].sort((a, b) => a - b);
  const pairs = [];
  for (const id of all) {
    const last = pairs[pairs.length - 1];
    if (last && last[1] + 1 === id) last[1] = id;
    else pairs.push([id, id]);
  }
  return pairs;
}

const set = (vector) => {
  const ids = [];
  vector.forEach((on, id) => on && ids.push(id));
  return ids;
};

function tcfExpected(text) {
  const m = TCString.decode(text);
  const types = text.split(".").slice(1).map((part) => (alphabet.indexOf(part[0]) >> 3) & 7);
  const restrictions = [];
  for (const r of m.publisherRestrictions.getRestrictions()) {
    restrictions.push({
      purpose_id: r.purposeId,
      restriction_type: r.restrictionType,
      vendors: ranges(m.publisherRestrictions.getVendors(r)),
    });
  }
  restrictions.sort((a, b) => a.purpose_id - b.purpose_id || a.restriction_type - b.restriction_type);
  const expected = {
    version: m.version,
    created: m.created.toISOString(),
    last_updated: m.lastUpdated.toISOString(),
    cmp_id: m.cmpId,
    cmp_version: m.cmpVersion,
    consent_screen: m.consentScreen,
    consent_language: m.consentLanguage,
    vendor_list_version: m.vendorListVersion,
    policy_version: m.policyVersion,
    is_service_specific: m.isServiceSpecific,
    use_non_standard_texts: m.useNonStandardTexts,
    special_feature_optins: set(m.specialFeatureOptins),
    purpose_consents: set(m.purposeConsents),
    purpose_legitimate_interests: set(m.purposeLegitimateInterests),
    purpose_one_treatment: m.purposeOneTreatment,
    publisher_country_code: m.publisherCountryCode,
    vendor_consents: ranges(set(m.vendorConsents)),
    vendor_legitimate_interests: ranges(set(m.vendorLegitimateInterests)),
    publisher_restrictions: restrictions,
  };
  if (types.includes(1)) expected.vendors_disclosed = ranges(set(m.vendorsDisclosed));
  if (types.includes(2)) expected.vendors_allowed = ranges(set(m.vendorsAllowed));
  if (types.includes(3)) {
    expected.publisher_consents = set(m.publisherConsents);
    expected.publisher_legitimate_interests = set(m.publisherLegitimateInterests);
    expected.num_custom_purposes = m.numCustomPurposes;
    expected.publisher_custom_consents = set(m.publisherCustomConsents);
    expected.publisher_custom_legitimate_interests = set(m.publisherCustomLegitimateInterests);
  }
  return expected;
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const ids = (bits) => bits.flatMap((on, i) => (on ? [i + 1] : []));

function caExpected(obj, text) {
  const types = text.split(".").slice(1).map((part) => (alphabet.indexOf(part[0]) >> 3) & 7);
  const expected = {};
  for (const [name, value] of Object.entries(obj)) {
    if (name.endsWith("SegmentType")) continue;
    if (/^(Pub|NumCustom|CustomPurposes)/.test(name) && name !== "PubRestrictions" && !types.includes(3)) continue;
    if (name === "DisclosedVendors" && !types.includes(1)) continue;
    if (name === "PubRestrictions") {
      expected.pub_restrictions = value.map((r) => ({ key: r.getKey(), type: r.getType(), ids: ranges(r.getIds()) }));
    } else if (name.startsWith("Vendor") && Array.isArray(value) || name === "DisclosedVendors") {
      expected[snake(name)] = ranges(value);
    } else if (Array.isArray(value)) {
      expected[snake(name)] = ids(value);
    } else {
      expected[snake(name)] = value instanceof Date ? value.toISOString() : value;
    }
  }
  return expected;
}

function gppExpected(text) {
  const model = new GppModel(text);
  const parts = text.split("~");
  const sectionIds = model.getHeader().SectionIds;
  const expected = { section_ids: sectionIds };
  const sections = model.toObject();
  sectionIds.forEach((id, i) => {
    const part = parts[i + 1];
    if (id === 2) {
      expected.tcfeuv2 = tcfExpected(part);
    } else if (id === 5) {
      expected.tcfcav1 = caExpected(sections.tcfcav1, part);
    } else {
      const name = Object.keys(sections).find((n) => sections[n] === model_section(sections, id));
      const fields = {};
      for (const [field, value] of Object.entries(sections[name])) fields[snake(field)] = value;
      expected[name] = fields;
    }
  });
  return expected;
}
const NAMES = {
  6: "uspv1", 7: "usnat", 8: "usca", 9: "usva", 10: "usco", 11: "usut", 12: "usct", 13: "usfl", 14: "usmt",
  15: "usor", 16: "ustx", 17: "usde", 18: "usia", 19: "usne", 20: "usnh", 21: "usnj", 22: "ustn", 23: "usmn",
  24: "usmd", 25: "usin", 26: "usky", 27: "usri",
};
const model_section = (sections, id) => sections[NAMES[id]];

// === TCF ===

const everyVendor = { vendorIds: new Set(Array.from({ length: 65535 }, (_, i) => i + 1)) };

function tcModel(o = {}) {
  const m = new TCModel();
  m.cmpId = o.cmpId ?? 28;
  m.cmpVersion = o.cmpVersion ?? 3;
  m.consentScreen = o.consentScreen ?? 1;
  m.consentLanguage = o.consentLanguage ?? "EN";
  m.publisherCountryCode = o.publisherCountryCode ?? "DE";
  m.isServiceSpecific = o.isServiceSpecific ?? true;
  m.useNonStandardTexts = o.useNonStandardTexts ?? false;
  m.purposeOneTreatment = o.purposeOneTreatment ?? false;
  m.policyVersion = o.policyVersion ?? 5;
  m.vendorListVersion = o.vendorListVersion ?? 178;
  m.specialFeatureOptins.set(o.features ?? []);
  m.purposeConsents.set(o.purposes ?? [1, 3, 4, 7]);
  m.purposeLegitimateInterests.set(o.purposesLi ?? []);
  m.vendorConsents.set(o.vendors ?? [755]);
  m.vendorLegitimateInterests.set(o.vendorsLi ?? []);
  m.vendorsDisclosed.set(o.disclosed ?? []);
  m.vendorsAllowed.set(o.allowed ?? []);
  m.publisherConsents.set(o.pub ?? []);
  m.publisherLegitimateInterests.set(o.pubLi ?? []);
  m.numCustomPurposes = o.custom ?? 0;
  m.publisherCustomConsents.set(o.pubCustom ?? []);
  m.publisherCustomLegitimateInterests.set(o.pubCustomLi ?? []);
  for (const [vendor, purpose, type] of o.restrictions ?? []) {
    m.publisherRestrictions.add(vendor, new PurposeRestriction(purpose, type));
  }
  // A list with every vendor: the library writes restrictions of those that the list has.
  m.publisherRestrictions.gvl = everyVendor;
  const date = new Date(o.date ?? "2026-06-01T00:00:00Z");
  m.created = date;
  m.lastUpdated = o.updated ? new Date(o.updated) : date;
  return m;
}

// Segments by choice and in any order, which the library's own encode() does not offer.
function tcString(o = {}) {
  const m = tcModel(o);
  const names = { d: Segment.VENDORS_DISCLOSED, a: Segment.VENDORS_ALLOWED, p: Segment.PUBLISHER_TC };
  const parts = [SegmentEncoder.encode(m, Segment.CORE)];
  for (const letter of o.segments ?? "d") parts.push(SegmentEncoder.encode(m, names[letter]));
  return parts.join(".");
}

const tcf = [];
const addTcf = (name, o) => {
  const text = tcString(o);
  tcf.push({ name, text, expected: tcfExpected(text) });
};

addTcf("smallest", { purposes: [], vendors: [], segments: "" });
addTcf("smallest with empty disclosed vendors", { purposes: [], vendors: [] });
addTcf("2.2 without disclosed vendors", { policyVersion: 4, date: "2025-11-02T00:00:00Z", vendors: [1, 2, 3, 755], segments: "" });
addTcf("2.3 with disclosed vendors", { vendors: [1, 2, 3, 755], disclosed: [1, 2, 3, 4, 755] });
addTcf("2.3 vendor not disclosed", { vendors: [755], disclosed: [1, 2] });
addTcf("last day before 2.3", { date: "2026-02-28T00:00:00Z", segments: "" });
addTcf("first day of 2.3", { date: "2026-03-01T00:00:00Z", segments: "" });
addTcf("updated after created", { date: "2026-01-02T03:04:05.600Z", updated: "2026-04-05T06:07:08.900Z" });
addTcf("all purposes and features", { purposes: Array.from({ length: 24 }, (_, i) => i + 1), features: [1, 2, 12], purposesLi: [2, 7, 8, 9, 10, 11] });
addTcf("largest numbers", { cmpId: 4095, cmpVersion: 4095, consentScreen: 63, consentLanguage: "ZZ", publisherCountryCode: "AA", vendorListVersion: 4095, policyVersion: 63 });
addTcf("purpose one treatment", { purposes: [3, 4, 7], purposeOneTreatment: true, publisherCountryCode: "DE" });
addTcf("non-standard texts", { useNonStandardTexts: true });
addTcf("retired policy", { policyVersion: 2, date: "2023-01-01T00:00:00Z", segments: "" });
addTcf("global scope", { isServiceSpecific: false, segments: "" });
addTcf("highest vendor as range", { vendors: [65535], disclosed: [65535] });
addTcf("highest vendor as bitfield", { vendors: some(65535, 0.5).concat(65535).slice(-1200), segments: "" });
addTcf("one long range", { vendors: Array.from({ length: 5000 }, (_, i) => i + 1), disclosed: Array.from({ length: 6000 }, (_, i) => i + 1) });
addTcf("bitfield of one", { vendors: [1], vendorsLi: [1, 2], disclosed: [1] });
addTcf("bitfield across a word", { vendors: [63, 64, 65, 127, 128, 129, 130, 200], segments: "" });
addTcf("all even vendors", { vendors: Array.from({ length: 400 }, (_, i) => 2 * i + 2), disclosed: Array.from({ length: 900 }, (_, i) => i + 1) });
addTcf("publisher consents", { pub: [1, 2, 24], pubLi: [7], segments: "dp" });
addTcf("publisher custom purposes", { pub: [1], custom: 9, pubCustom: [1, 9], pubCustomLi: [2], segments: "p" });
addTcf("63 custom purposes", { pub: [1], custom: 63, pubCustom: [1, 62, 63], pubCustomLi: [63], segments: "pd" });
addTcf("allowed vendors", { allowed: [12, 755], segments: "a" });
addTcf("segments in any order", { allowed: [12], disclosed: [755], pub: [1], segments: "pad" });
addTcf("segments in another order", { allowed: [12], disclosed: [755], pub: [1], segments: "apd" });
addTcf("a restriction", { restrictions: [[755, 2, 1]] });
addTcf("not allowed", { restrictions: [[755, 7, 0]], disclosed: [755] });
addTcf("legitimate interest required", { restrictions: [[755, 3, 2]], disclosed: [755] });
addTcf("restriction of a range", { restrictions: Array.from({ length: 40 }, (_, i) => [100 + i, 2, 0]) });
addTcf("restrictions of several purposes", {
  restrictions: [[1, 2, 0], [2, 2, 0], [3, 2, 0], [9, 2, 0], [755, 3, 1], [756, 3, 1], [755, 4, 2], [10, 10, 0]],
  disclosed: [755, 756],
});
addTcf("restrictions of vendors that are not there", { vendors: [1], restrictions: [[60000, 2, 1], [65535, 2, 1]] });
for (let i = 0; i < 40; i++) {
  const share = [0.02, 0.3, 0.7, 0.98][i % 4];
  const max = [40, 300, 1200, 2000][below(4)];
  const restrictions = [];
  for (let r = below(6); r > 0; r--) {
    const [purpose, type, first, length] = [2 + below(9), below(3), 1 + below(1200), 1 + below(30)];
    for (let v = first; v < first + length; v++) restrictions.push([v, purpose, type]);
  }
  addTcf(`random ${i}`, {
    cmpId: 2 + below(500), cmpVersion: below(4096), consentScreen: below(64), vendorListVersion: below(4096),
    consentLanguage: ["EN", "DE", "FR", "PL", "CS"][below(5)], policyVersion: 4 + below(2),
    purposes: some(11, 0.6), purposesLi: some(11, 0.3), features: some(2, 0.5), vendors: some(max, share),
    vendorsLi: some(max, 1 - share), disclosed: some(max, 0.9), allowed: some(30, 0.3), pub: some(11, 0.5),
    pubLi: some(11, 0.2), custom: below(12), restrictions, segments: ["", "d", "dp", "pd", "dap"][below(5)],
    date: new Date(Date.UTC(2023 + below(4), below(12), 1 + below(28))).toISOString(),
  });
}
// Writers pad in other ways too; the library reads that.
const usual = tcString({ vendors: [1, 2, 3, 755], disclosed: [1, 2, 3, 755] }).split(".");
for (const zeros of ["A", "AA", "AAA"]) {
  const text = [usual[0] + zeros, usual[1]].join(".");
  const strict = bitsOf(text.split(".")[0]).length - coreLength({ vendors: [1, 2, 3, 755] }) < 24;
  if (strict) tcf.push({ name: `padded with ${zeros}`, text, expected: tcfExpected(text) });
}
function bitsOf(text) {
  return [...text].map((c) => alphabet.indexOf(c).toString(2).padStart(6, "0")).join("");
}
function textOf(bits) {
  const padded = bits.padEnd(Math.ceil(bits.length / 6) * 6, "0");
  return padded.match(/.{6}/g).map((six) => alphabet[parseInt(six, 2)]).join("");
}
function coreLength(o) {
  const bits = bitsOf(SegmentEncoder.encode(tcModel(o), Segment.CORE));
  return bits.lastIndexOf("1") + 1;
}
tcf.push({ name: "dots escaped for a URL", text: usual.join("%2E"), expected: tcfExpected(usual.join(".")) });
tcf.push({ name: "dots escaped in lower case", text: usual.join("%2e"), expected: tcfExpected(usual.join(".")) });

// === GPP ===

const gpp = [];
const addGpp = (name, text) => gpp.push({ name, text, expected: gppExpected(text) });
const fixedDate = new Date("2026-06-01T00:00:00Z");

function setUs(model, name, fields) {
  for (const [field, value] of Object.entries(fields)) model.setFieldValue(name, field, value);
}

// Any legal value for every field of a US section.
function randomUs(model, id, gpc) {
  const name = NAMES[id];
  if (id === 6) {
    const letter = () => "YN-"[below(3)];
    setUs(model, name, { Notice: letter(), OptOutSale: letter(), LspaCovered: letter() });
    return;
  }
  model.setFieldValue(name, id >= 24 ? "MspaVersion" : "Version", id === 7 ? 2 : 1);
  const fields = model.getSection(name);
  for (const [field, value] of Object.entries(fields)) {
    if (field === "Version" || field === "MspaVersion" || field === "GpcSegmentType") continue;
    if (field === "Gpc") continue;
    const low = field === "MspaCoveredTransaction" ? 1 : 0;
    const any = () => low + below(3 - low);
    model.setFieldValue(name, field, Array.isArray(value) ? value.map(any) : any());
  }
  if (!("Gpc" in fields)) return;
  model.setFieldValue(name, "GpcSegmentIncluded", gpc !== undefined);
  if (gpc !== undefined) model.setFieldValue(name, "Gpc", gpc);
}

function randomCa(model, o = {}) {
  const bits = (n, share) => Array.from({ length: n }, () => random() < share);
  setUs(model, "tcfcav1", {
    CmpId: 2 + below(400), CmpVersion: below(100), ConsentScreen: below(64), ConsentLanguage: ["EN", "FR"][below(2)],
    VendorListVersion: below(200), TcfPolicyVersion: 2, UseNonStandardStacks: random() < 0.5,
    SpecialFeatureExpressConsent: bits(12, 0.2), PurposesExpressConsent: bits(24, 0.4),
    PurposesImpliedConsent: bits(24, 0.3), VendorExpressConsent: o.vendors ?? some(800, 0.05),
    VendorImpliedConsent: o.implied ?? some(60, 0.5), PubPurposesExpressConsent: bits(24, 0.3),
    PubPurposesImpliedConsent: bits(24, 0.3), NumCustomPurposes: 3,
    CustomPurposesExpressConsent: bits(3, 0.5), CustomPurposesImpliedConsent: bits(3, 0.5),
  });
  if (o.disclosed) model.setFieldValue("tcfcav1", "DisclosedVendors", o.disclosed);
  if (o.restrictions) {
    const entries = o.restrictions.map(([key, type, list]) => new RangeEntry(key, type, list));
    model.setFieldValue("tcfcav1", "PubRestrictions", entries);
  }
  model.setFieldValue("tcfcav1", "Created", fixedDate);
  model.setFieldValue("tcfcav1", "LastUpdated", fixedDate);
}

for (let id = 6; id <= 27; id++) {
  for (const gpc of [undefined, true, false]) {
    const model = new GppModel();
    randomUs(model, id, gpc);
    const has = "Gpc" in model.getSection(NAMES[id]);
    if (!has && gpc === false) continue;
    addGpp(`${NAMES[id]} alone${has ? `, gpc ${gpc ?? "absent"}` : gpc ? ", again" : ""}`, model.encode());
  }
}
for (const [name, fields] of [
  ["opted out of sale", { SaleOptOutNotice: 1, SaleOptOut: 1 }],
  ["opted out of targeting", { TargetedAdvertisingOptOutNotice: 1, TargetedAdvertisingOptOut: 1 }],
  ["did not opt out", { SaleOptOutNotice: 1, SaleOptOut: 2, SharingOptOutNotice: 1, SharingOptOut: 2 }],
]) {
  const model = new GppModel();
  setUs(model, "usnat", { Version: 2, ...fields });
  addGpp(`usnat ${name}`, model.encode());
}
{
  const model = new GppModel();
  setUs(model, "usnat", { Version: 1, SaleOptOut: 1, SensitiveDataProcessing: Array(12).fill(1), KnownChildSensitiveDataConsents: [1, 2] });
  addGpp("usnat version 1", model.encode());
}
for (const [name, text] of [
  ["usnat version 1, sixty bits", "DBABLA~BVVVVVVVVV"],
  ["usnat version 1, sixty-six bits", "DBABLA~BVVVVVVVVVA.YA"],
  ["usnat version 1 in the places of version 2", "DBABLA~BVVVVVVVVVVA"],
  ["usca with mspa 0", "DBABBg~BAAAAAAA"],
]) {
  try { addGpp(name, text); } catch (error) { console.error("left out:", name, error.message); }
}
// The published page of sections 24 to 27 begins them with a header, which the library does not know:
// what follows the header is the same, and so is what is expected.
for (let id = 24; id <= 27; id++) {
  for (const sub of [true, false]) {
    const model = new GppModel();
    randomUs(model, id, sub ? true : undefined);
    if (id > 24) model.setFieldValue(NAMES[id], "SensitiveDataConsentSegmentIncluded", sub);
    const [header, section] = model.encode().split("~");
    const own = textOf(id.toString(2).padStart(6, "0") + "000001" + (sub ? "000000000001" + "0" + "11" : "000000000000"));
    gpp.push({
      name: `${NAMES[id]} with a section header${sub ? " and a sub-section" : ""}`,
      text: `${header}~${own}.${section}`,
      expected: gppExpected(model.encode()),
    });
  }
}
// The header as the specification pads it, and as the library does.
{
  const model = new GppModel();
  setUs(model, "usca", { SaleOptOut: 2 });
  const text = model.encode();
  addGpp("header padded by the library", text);
  const header = textOf(bitsOf(text.split("~")[0]).replace(/0+$/, ""));
  addGpp("header padded to six bits", [header, text.split("~")[1]].join("~"));
  gpp.push({ name: "escaped for a URL", text: text.replace(/~/g, "%7E").replace(/\./g, "%2E"), expected: gppExpected(text) });
}
{
  const ca = [
    [{ vendors: [], implied: [] }, "no vendors"],
    [{ vendors: [1, 2, 3, 755], implied: [10] }, "ranges"],
    [{ vendors: some(100, 0.5), implied: some(300, 0.5) }, "bitfields"],
    [{ vendors: [4000], implied: [1, 4000], disclosed: [1, 4000] }, "disclosed vendors"],
    [{ vendors: [755], disclosed: some(900, 0.9), restrictions: [[3, 0, [755, 756]], [4, 1, [12]], [7, 2, [1, 2, 3, 9]]] }, "restrictions"],
  ];
  for (const [o, name] of ca) {
    const model = new GppModel();
    randomCa(model, o);
    addGpp(`tcfcav1 ${name}`, model.encode());
  }
}
const withTcf = (model, o) => {
  const text = model.encode();
  const parts = text.split("~");
  const at = model.getSectionIds().indexOf(2) + 1;
  parts[at] = tcString(o);
  return parts.join("~");
};
for (let i = 0; i < 40; i++) {
  const model = new GppModel();
  const count = 1 + below(i % 5 === 0 ? 22 : 5);
  while (model.getSectionIds().filter((id) => id > 5).length < count) {
    randomUs(model, 6 + below(22), [undefined, true, false][below(3)]);
  }
  if (i % 4 === 0) randomCa(model, {});
  if (i % 3 === 0) {
    model.setFieldValue("tcfeuv2", "IsServiceSpecific", true);
    addGpp(`combination ${i}`, withTcf(model, { vendors: some(900, 0.4), disclosed: some(900, 0.9), segments: ["", "d", "dp"][below(3)] }));
  } else {
    addGpp(`combination ${i}`, model.encode());
  }
}

// === what must be refused ===

const good = bitsOf(SegmentEncoder.encode(tcModel({ vendors: [] }), Segment.CORE)).slice(0, 213);
const none = "0".repeat(17);
const number = (n, bits) => n.toString(2).padStart(bits, "0");
const core = (vendors, li = none, restrictions = "0".repeat(12)) => textOf(good + vendors + li + restrictions);
const range = (max, ...entries) =>
  number(max, 16) + "1" + number(entries.length, 12) +
  entries.map((e) => (e.length === 1 ? "0" + number(e[0], 16) : "1" + number(e[0], 16) + number(e[1], 16))).join("");
// Entries may be out of order and overlap, as long as they are within bounds.
for (const [name, text] of [
  ["ranges out of order", core(range(755, [700, 755], [1, 3]))],
  ["ranges that overlap", core(range(755, [1, 10], [5, 20], [20]))],
  ["ranges that touch", core(range(755, [1, 10], [11, 20], [21]))],
]) {
  tcf.push({ name, text, expected: tcfExpected(text) });
}
const first = usual[0];
const malformed = {
  tcf: {
    "empty": "",
    "version 1": "BOEFEAyOEFEAyAHABDENAI4AAAB9vABAASA",
    "version 3": "D" + first.slice(1),
    "only the version": "C",
    "cut in the fixed part": first.slice(0, 30),
    "cut in the vendors": core(number(100, 16) + "0" + "1".repeat(40)).slice(0, 43),
    "without restrictions": textOf(good + none + none).slice(0, 41),
    "restrictions announced and not there": core(none, none, number(3, 12)),
    "range announced and not there": textOf(good + number(755, 16) + "1" + number(4095, 12)),
    "range backwards": core(range(755, [20, 10])),
    "range from zero": core(range(755, [0, 10])),
    "single zero": core(range(755, [0])),
    "range beyond the highest id": core(range(100, [1, 101])),
    "single beyond the highest id": core(range(100, [101])),
    "restriction backwards": core(none, none, number(1, 12) + number(2, 6) + "01" + number(1, 12) + "1" + number(9, 16) + number(3, 16)),
    "restriction of vendor zero": core(none, none, number(1, 12) + number(2, 6) + "01" + number(1, 12) + "0" + number(0, 16)),
    "a one in the padding": textOf(good + none + none + "0".repeat(12) + "1"),
    "too much padding": core(none) + "AAAA",
    "a plus sign": first.replace(/.$/, "+"),
    "padding characters": first + "==",
    "white space": " " + first,
    "a line feed": first + "\n",
    "a letter beyond ASCII": first.slice(0, 10) + "é" + first.slice(11),
    "a null byte": first + "\0",
    "the core twice": first + "." + first,
    "another segment first": [usual[1], first].join("."),
    "a segment twice": [first, usual[1], usual[1]].join("."),
    "an unknown segment": first + "." + textOf("111" + "0".repeat(30)),
    "an empty segment": first + "." + usual[1] + ".",
    "an empty segment between": first + ".." + usual[1],
    "a cut segment": first + "." + usual[1].slice(0, 3),
    "a cut publisher segment": first + "." + textOf("011" + "0".repeat(20)),
    "custom purposes not there": first + "." + textOf("011" + "0".repeat(48) + number(40, 6)),
    "bits after a segment": first + "." + textOf("001" + none + "0001"),
    "a language that is none": textOf(good.slice(0, 108) + number(27, 6) + good.slice(114) + none + none + "0".repeat(12)),
    "an unfilled macro": "${GDPR_CONSENT_755}",
    "a number": "1",
    "too long": first + "A".repeat(17000),
    "a GPP string": "DBABMA~" + first,
    "double escaped": usual.join("%252E"),
  },
  gpp: {
    "empty": "",
    "a TC string": first,
    "header alone with a section announced": "DBABMA",
    "header without sections and a section": "DBAA~1YNN",
    "another type": "CBABMA~" + first,
    "another version": "DCABMA~" + first,
    "cut header": "DB",
    "cut Fibonacci number": textOf("000011000001" + number(1, 12) + "0"),
    "Fibonacci number without end": textOf("000011000001" + number(1, 12) + "0" + "0".repeat(40)) + "~1YNN",
    "too few sections": "DBACNYA~" + first,
    "too many sections": "DBABMA~" + first + "~1YNN",
    "a one in the padding": textOf("000011000001" + number(1, 12) + "00010111" + "01") + "~1YNN",
    "too much padding": "DBABMAAAAA~" + first,
    "white space": " DBABMA~" + first,
    "padding characters": "DBABMA==~" + first,
    "a group of sections not there": textOf("000011000001" + number(1, 12) + "1" + "011" + "000000000000000011") + "~1YNN",
    "an unfilled macro": "${GPP_STRING_755}",
    "too long": "DBABMA~" + first + "A".repeat(17000),
  },
  // The string stands; the one section is unreadable.
  gpp_sections: {
    "usca cut": ["DBABBg~BVVV", 8],
    "usca empty": ["DBABBg~", 8],
    "usca of another version": ["DBABBg~CVVVVVVVVVVA.QA", 8],
    "usca with a one in the padding": ["DBABBg~BVVVVVVVVVVV", 8],
    "usca with an unknown sub-section": ["DBABBg~BVVVVVVY.8A", 8],
    "usca with two sub-sections": ["DBABBg~BVVVVVVY.YA.YA", 8],
    "usca with an empty sub-section": ["DBABBg~BVVVVVVY.", 8],
    "usca in another alphabet": ["DBABBg~BVVV+VVVV", 8],
    "usmd with a header that announces too much": ["DBABTWA~YBABg.BVVA", 24],
    "usmd with a header of another version": ["DBABTWA~YCAA.BVVA", 24],
    "uspv1 too short": ["DBABTA~1YN", 6],
    "uspv1 of another version": ["DBABTA~2YNN", 6],
    "tcfeuv2 cut": ["DBABMA~" + first.slice(0, 20), 2],
    "tcfeuv2 of version 1": ["DBABMA~BOEFEAyOEFEAyAHABDENAI4AAAB9vABAASA", 2],
  },
  us_privacy: {
    "empty": "", "short": "1YN", "long": "1YNNN", "version 2": "2YNN", "version 0": "0YNN", "another letter": "1XNN",
    "a digit": "1Y1N", "white space": "1YN ", "an unfilled macro": "${US_PRIVACY}",
  },
  additional_consent: {
    "empty": "", "version 3": "3~1~dv.2", "one part": "2", "two parts": "2~1.2", "four parts": "2~1~dv.2~3",
    "version 1 with three": "1~1~dv.2", "empty item": "2~1..2~dv.", "empty item at the end": "2~1.~dv.",
    "a comma": "2~1,2~dv.", "a sign": "2~-1~dv.", "a letter": "2~a~dv.", "no dv": "2~1~2", "white space": "2~1 ~dv.",
    "a number that is too large": "2~99999999999999~dv.", "too long": "2~" + "1.".repeat(9000) + "1~dv.",
  },
};
// The headers of these sections by the library, so that the texts above say what their names say.
for (const [id, name] of [[8, "usca"], [6, "uspv1"], [24, "usmd"]]) {
  const model = new GppModel();
  model.setFieldValue(name, id === 6 ? "Notice" : "SaleOptOut", id === 6 ? "Y" : 1);
  const header = model.encode().split("~")[0];
  for (const entry of Object.values(malformed.gpp_sections)) {
    if (entry[1] === id) entry[0] = header + entry[0].slice(entry[0].indexOf("~"));
  }
}
const write = (name, value) => {
  const lines = Array.isArray(value)
    ? "[\n" + value.map((v) => JSON.stringify(v)).join(",\n") + "\n]\n"
    : JSON.stringify(value, null, 1) + "\n";
  fs.writeFileSync(path.join(out, name), lines);
};
write("tcf.json", tcf);
write("gpp.json", gpp);
write("malformed.json", malformed);
console.log(`${tcf.length} TCF, ${gpp.length} GPP, ${Object.values(malformed).map((m) => Object.keys(m).length)} malformed`);
