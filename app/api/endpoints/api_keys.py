"""/v1/keys: manages the API keys of a tenant, for its admins."""

from datetime import timedelta
from typing import Annotated, Self

from flask import Response
from pydantic import BaseModel, ConfigDict, Field

from app.api.auth.authentication import tenant
from app.api.input.blueprint import Routes, json_answer
from app.api.middleware.errors import NoSuchId
from app.api.middleware.idempotency import IdempotencyHeader, idempotent
from app.api.schemas.fields import KeyCursor, Limit, Moment, encode_cursor
from app.bootstrap.stores import Stores
from app.domain.access import Scope
from app.store.api_keys import ApiKey, key_id

OVERLAP_S = 86_400
MAX_LIFETIME_S = 10 * 366 * 86_400
DEFAULT_SCOPES: list[Scope] = [scope for scope in Scope if scope is not Scope.ADMIN]


class KeyPath(BaseModel):
    id: str = Field(pattern=r"^[0-9a-f]{12}$")


class KeyQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: Limit = 50
    cursor: KeyCursor | None = None


class KeyRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=100, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")] = ""
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(Scope))] = DEFAULT_SCOPES
    expires_in_s: Annotated[int, Field(ge=1, le=MAX_LIFETIME_S, strict=True)] | None = Field(
        None, description="If omitted, the key never expires."
    )


class KeyRotationRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    overlap_s: int = Field(OVERLAP_S, ge=0, le=604_800, strict=True, description="How long the old key stays valid.")


class KeyView(BaseModel):
    id: str
    name: str
    scopes: list[Scope]
    created_at: Moment
    expires_at: Moment | None
    last_used_at: Moment | None = Field(description="Accurate to the minute.")

    @classmethod
    def of(cls, api_key: ApiKey, **extra: str) -> Self:
        return cls(
            id=api_key.id,
            name=api_key.name,
            scopes=sorted(api_key.scopes),
            created_at=api_key.created_at,
            expires_at=api_key.expires_at,
            last_used_at=api_key.last_used_at,
            **extra,
        )


class KeyCreated(KeyView):
    key: str = Field(description="Shown only once.")


class KeyPage(BaseModel):
    items: list[KeyView]
    next_cursor: str | None


class KeyViews:
    def __init__(self, stores: Stores) -> None:
        self._keys = stores.api_keys
        self._claims = stores.claims
        self._clock = stores.clock

    def routes(self) -> Routes:
        routes = Routes("keys")
        routes.post("/keys", responses={201: KeyCreated})(self.create_key)
        routes.get("/keys", responses={200: KeyPage})(self.list_keys)
        routes.delete("/keys/<id>", responses={204: None})(self.revoke_key)
        routes.post("/keys/<id>/rotate", responses={201: KeyCreated})(self.rotate_key)
        return routes

    def create_key(self, header: IdempotencyHeader, body: KeyRequest) -> Response:
        """Creates an API key for this tenant."""
        return json_answer(idempotent(self._claims, header, lambda: self._created(body)), 201)

    def list_keys(self, query: KeyQuery) -> Response:
        """Lists the tenant's API keys, newest first."""
        found, cursor = self._keys.page(tenant(), limit=query.limit, cursor=query.cursor)
        page = KeyPage(items=[KeyView.of(key) for key in found], next_cursor=encode_cursor(cursor))
        return json_answer(page.model_dump_json())

    def revoke_key(self, path: KeyPath) -> Response:
        """Revokes a key, effective within seconds."""
        if not self._keys.revoke(path.id, tenant()):
            raise NoSuchId
        return Response(status=204)

    def rotate_key(self, path: KeyPath, header: IdempotencyHeader, body: KeyRotationRequest) -> Response:
        """Creates a key like this one, which expires after the overlap."""
        return json_answer(idempotent(self._claims, header, lambda: self._rotated(path.id, body)), 201)

    def _created(self, body: KeyRequest) -> str:
        lifetime = timedelta(seconds=body.expires_in_s) if body.expires_in_s else None
        return self._render(
            self._keys.create(tenant(), frozenset(body.scopes), self._clock(), lifetime, name=body.name)
        )

    def _rotated(self, id: str, body: KeyRotationRequest) -> str:
        key = self._keys.rotate(tenant(), id, self._clock(), timedelta(seconds=body.overlap_s))
        if key is None:
            raise NoSuchId
        return self._render(key)

    def _render(self, key: str) -> str:
        made = self._keys.get(tenant(), key_id(key))
        if made is None:
            raise NoSuchId  # expired or revoked in the meantime
        return KeyCreated.of(made, key=key).model_dump_json()
