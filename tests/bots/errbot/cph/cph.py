"""An Errbot plugin that verifies callbacks and posts them to a room."""

import os

from errbot import BotPlugin, webhook
from flask import abort
from standardwebhooks import Webhook, WebhookVerificationError


class Cph(BotPlugin):
    @webhook("/standard", methods=("POST",), raw=True)
    def standard(self, request):
        return self._post(request)

    @webhook("/cloudevents", methods=("POST",), raw=True)
    def cloudevents(self, request):
        return self._post(request)

    @webhook("/template", methods=("POST",), raw=True)
    def template(self, request):
        return self._post(request)

    def _post(self, request):
        try:
            message = Webhook(os.environ["CPH_SECRET"]).verify(request.get_data(as_text=True), dict(request.headers))
        except WebhookVerificationError as error:
            self.send(self.build_identifier("#ops"), f"refused: {error}")
            abort(400)
        text = message.get("text", message.get("type"))
        event_id = message.get("event_id", message.get("id"))
        self.send(self.build_identifier(message.get("room", "#ops")), f"{request.path} {text} {event_id}")
        return "ok"
