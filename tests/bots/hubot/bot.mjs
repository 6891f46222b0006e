// A Hubot whose script verifies callbacks and posts them to a room. A post is a line of JSON on stdout.
// Express has already parsed the body, so it is serialised again for verification: this must give exactly the signed bytes.
import express from "express";
import { Adapter, Robot } from "hubot";
import { Webhook } from "standardwebhooks";

class Room extends Adapter {
  async send(envelope, ...texts) {
    for (const text of texts) console.log(JSON.stringify({ room: envelope.room, text }));
  }

  async run() {
    this.emit("connected");
  }

  close() {}
}

const webhook = new Webhook(process.env.CPH_SECRET);
const robot = new Robot({ name: "Room", use: async (self) => new Room(self) }, true, "cph");

function receive(request, response) {
  let message;
  try {
    message = webhook.verify(JSON.stringify(request.body), request.headers);
  } catch (error) {
    robot.messageRoom("#ops", `refused: ${error.message}`);
    return response.status(400).send(error.message);
  }
  robot.messageRoom(message.room ?? "#ops", `${request.path} ${message.text ?? message.type} ${message.event_id ?? message.id}`);
  return response.send("ok");
}

await robot.loadAdapter();
await robot.run();
// Hubot's own parser only accepts application/json.
robot.router.post("/cloudevents", express.json({ type: "application/cloudevents+json" }), receive);
robot.router.post(["/standard", "/template"], receive);
console.log(JSON.stringify({ url: `http://127.0.0.1:${robot.server.address().port}` }));
