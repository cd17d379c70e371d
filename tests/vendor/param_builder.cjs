// Holds our Meta identity and click ids against Meta's own param builder (npm
// `capi-param-builder-nodejs`): people.ndjson normalised and hashed by both, `fbc` and `fbp` of our
// requests read back by the builder.
//
//     node param_builder.cjs RELAY requests.json     (NODE_PATH: where the package is)
"use strict";

const { execFileSync } = require("node:child_process");
const { readFileSync } = require("node:fs");
const { join } = require("node:path");
const { ParamBuilder } = require("capi-param-builder-nodejs");

const [relay, requests] = process.argv.slice(2);
const problems = [];
const builder = new ParamBuilder(["shop.example"]);
const bare = (hash) => hash?.split(".")[0];

// The builder's word for a field.
const kind = (field) => ({ region: "state", postal_code: "zip_code" })[field] ?? field;

// What `identity` makes of a line.
function ours({ field, value, country }) {
  const arguments_ = ["identity", "--platform", "meta", ...(country ? ["--country", country] : [])];
  return JSON.parse(execFileSync(relay, arguments_, { input: JSON.stringify({ field, value }) }));
}

const lines = readFileSync(join(__dirname, "people.ndjson"), "utf8").trim().split("\n");
for (const line of lines.map((text) => JSON.parse(text))) {
  const theirs = builder.getNormalizedAndHashedPII(line.value, kind(line.field));
  const { normalized, sent } = ours(line);
  const agree = bare(sent) !== undefined && bare(sent) === bare(theirs);
  const what = `${line.field} ${JSON.stringify(line.value)}`;
  if (!agree && !line.differs) problems.push(`${what}: ours is of ${JSON.stringify(normalized)}`);
  if (agree && line.differs) problems.push(`${what}: no longer differs; say so in people.ndjson`);
}

let clicks = 0;
for (const { name, event, body } of JSON.parse(readFileSync(requests, "utf8"))) {
  for (const { user_data: user } of body.data) {
    const { fbclid } = event.click_ids ?? {};
    // The builder keeps a cookie that is of this click, and makes a new one otherwise.
    const request = new ParamBuilder(["shop.example"]);
    request.processRequest("www.shop.example", fbclid ? { fbclid } : {}, { _fbc: user.fbc, _fbp: user.fbp });
    for (const [key, read] of [["fbc", request.getFbc()], ["fbp", request.getFbp()]]) {
      if (user[key] === undefined) continue;
      clicks += 1;
      // It adds an appendix of its own.
      if (read !== user[key] && !read?.startsWith(`${user[key]}.`)) {
        problems.push(`${name}: ${key} ${user[key]} is read as ${read}`);
      }
    }
  }
}
console.log(`${lines.length} values and ${clicks} click ids read by the param builder, ${problems.length} problems`);
for (const problem of problems) console.log(problem);
process.exit(problems.length || clicks < 2 ? 1 : 0);
