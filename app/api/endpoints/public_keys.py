"""/v1/public-keys: the keys with which receivers verify ed25519 signatures (`v1a`)."""

from flask import Response
from pydantic import BaseModel, Field

from app.api.input.blueprint import Routes, json_answer
from app.webhooks.signing_keys import SigningKeys


class PublicKeyView(BaseModel):
    id: str
    key: str = Field(description="`whpk_…`")
    signs: bool = Field(description="True for the current key. Others were or will be used: accept all.")


class PublicKeyPage(BaseModel):
    items: list[PublicKeyView]
    next_cursor: None = Field(None, description="Always null: there is only one page.")


class PublicKeyViews:
    def __init__(self, signing_keys: SigningKeys) -> None:
        self._keys = signing_keys.public

    def routes(self) -> Routes:
        routes = Routes("public_keys")
        routes.get("/public-keys", responses={200: PublicKeyPage})(self.list_public_keys)
        return routes

    def list_public_keys(self) -> Response:
        """Lists the deployment's public keys, starting with the one that signs now."""
        items = [PublicKeyView(id=id, key=key, signs=not index) for index, (id, key) in enumerate(self._keys.items())]
        return json_answer(PublicKeyPage(items=items, next_cursor=None).model_dump_json())
