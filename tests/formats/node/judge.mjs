// Reads {"cards": [...], "events": [{"headers", "body"}, ...]} and prints a list of complaints: none is good.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

// The packages are not beside this file but in the cache where this runs.
const require = createRequire(join(process.cwd(), "package.json"));
const cards = require("adaptivecards/dist/adaptivecards.js");
const { HTTP } = require("cloudevents");

function judgeCard(written) {
  const context = new cards.SerializationContext(cards.Versions.v1_4);
  const card = new cards.AdaptiveCard();
  card.parse(written, context);
  const parsing = Array.from({ length: context.eventCount }, (_, number) => context.getEventAt(number));
  return [...parsing, ...card.validateProperties().validationEvents].map((complaint) => complaint.message);
}

function judgeEvent({ headers, body }) {
  try {
    return HTTP.toEvent({ headers, body }).validate() ? [] : ["not valid"];
  } catch (error) {
    return [String(error)];
  }
}

const input = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify([...(input.cards ?? []).flatMap(judgeCard), ...(input.events ?? []).flatMap(judgeEvent)]));
