// Reads our Data Manager requests by Google's own message definitions (npm
// `@google-ads/datamanager`): every field must be one of its message and of its type, and what the
// definitions encode and decode again must be what we wrote.
//
//     node data_manager.cjs requests.json     (NODE_PATH: where the packages are)
"use strict";

const { readFileSync } = require("node:fs");
const { dirname, join } = require("node:path");
const { protobuf } = require("google-gax");

const home = dirname(require.resolve("@google-ads/datamanager/package.json"));
const definitions = join(home, "build/protos/protos.json");
const root = protobuf.Root.fromJSON(JSON.parse(readFileSync(definitions, "utf8"))).resolveAll();
const request = root.lookupType("google.ads.datamanager.v1.IngestEventsRequest");
const problems = [];

// A JSON value as the definitions want it, by the proto3 JSON mapping; what does not fit is a problem.
function read(where, field, json) {
  const wrong = (wanted) => problems.push(`${where}: ${JSON.stringify(json)} is no ${wanted}`);
  const { resolvedType: type } = field;
  if (type instanceof protobuf.Enum) {
    if (!(json in type.values)) wrong(type.name);
    return type.values[json];
  }
  if (type?.fullName === ".google.protobuf.Timestamp") {
    const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/;
    if (!time.test(json)) wrong("RFC 3339 time");
    return { seconds: Math.floor(Date.parse(json) / 1000), nanos: 0 };
  }
  if (type) return readMessage(where, type, json);
  const kinds = {
    string: (it) => typeof it === "string",
    bool: (it) => typeof it === "boolean",
    double: (it) => typeof it === "number" && Number.isFinite(it),
    int32: (it) => Number.isInteger(it),
    // JSON writes 64 bits as a string.
    int64: (it) => typeof it === "string" && /^-?\d{1,19}$/.test(it),
  };
  if (!kinds[field.type]?.(json)) wrong(field.type);
  return json;
}

function readMessage(where, type, json) {
  const message = {};
  for (const [key, value] of Object.entries(json)) {
    const place = `${where}.${key}`;
    const field = type.fields[key];
    if (!field) {
      problems.push(`${place}: ${type.name} has no such field`);
    } else if (field.repeated !== Array.isArray(value)) {
      problems.push(`${place}: ${field.repeated ? "should be" : "is"} a list`);
    } else if (field.repeated) {
      message[key] = value.map((one, index) => read(`${place}[${index}]`, field, one));
    } else {
      message[key] = read(place, field, value);
    }
  }
  for (const [name, one] of Object.entries(type.oneofs ?? {})) {
    const set = one.oneof.filter((key) => key in json);
    if (set.length > 1) problems.push(`${where}: ${set.join(" and ")} are one ${name}`);
  }
  return message;
}

const requests = JSON.parse(readFileSync(process.argv[2], "utf8"));
let events = 0;
for (const { name, body } of requests) {
  const found = problems.length;
  const message = readMessage(name, request, body);
  if (problems.length > found) continue;
  const built = request.fromObject(message);
  const unfit = request.verify(built);
  if (unfit) problems.push(`${name}: ${unfit}`);
  const shown = (it) => JSON.stringify(request.toObject(it, { enums: String, longs: String }));
  const back = request.decode(request.encode(built).finish());
  if (shown(back) !== shown(built)) problems.push(`${name}: lost on the way`);
  events += body.events.length;
}
console.log(`${events} events read by @google-ads/datamanager, ${problems.length} problems`);
for (const problem of problems) console.log(problem);
process.exit(problems.length || events < 3 ? 1 : 0);
