// A Hubot whose script verifies what it is told, and says it in its room: as a line of JSON on stdout.
// Express has parsed the body by then, so it is written anew to be verified: that must give the very bytes that were signed.
import express from "express";
import { Adapter, Robot } from "hubot";
import { Webhook } from "standardwebhooks";

class Room extends Adapter {
  async send(envelope, ...texts) {
    for (const text of texts) console.log(JSON.stringify({ room: envelope.room, said: text }));
  }

  async run() {
    this.emit("connected");
  }

  close() {}
}

const webhook = new Webhook(process.env.CPH_SECRET);
const robot = new Robot({ name: "Room", use: async (self) => new Room(self) }, true, "cph");

function told(request, response) {
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
// Hubot's own parser takes application/json alone.
robot.router.post("/cloudevents", express.json({ type: "application/cloudevents+json" }), told);
robot.router.post(["/standard", "/template"], told);
console.log(JSON.stringify({ url: `http://127.0.0.1:${robot.server.address().port}` }));
