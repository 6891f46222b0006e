"""JWTs instead of API keys, from an issuer that answers by HTTP."""

import base64
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.api.auth.authentication import Authenticator
from app.api.auth.jwt_tokens import jwt_authenticator
from app.bootstrap.runtime import Runtime
from app.config.settings import load
from app.domain.access import Principal, Scope
from app.domain.errors import OperatorError
from tests.support.api_client import ApiCaller, problem
from tests.support.manual_clock import ManualClock

READ = "registrations:read"
MakeApi = Callable[..., ApiCaller]


class Issuer:
    """An OpenID provider: its configuration document, its keys, and the number of requests for them."""

    def __init__(self) -> None:
        self.keys = {"one": ec.generate_private_key(ec.SECP256R1())}
        self.request_count = 0
        self.status = 200
        issuer = self

        class IssuerHandler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = issuer.answer(self.path)
                self.send_response(issuer.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), IssuerHandler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def answer(self, path: str) -> bytes:
        self.request_count += 1
        if path == "/.well-known/openid-configuration":
            return json.dumps({"issuer": self.url, "jwks_uri": f"{self.url}/keys"}).encode()
        shown = [
            json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key())) | {"kid": id, "use": "sig"}
            for id, key in self.keys.items()
        ]
        return json.dumps({"keys": [*shown, {"kty": "odd", "kid": "x"}]}).encode()

    def token(self, *, key: str = "one", algorithm: str = "ES256", signer: Any = None, **claims: Any) -> str:
        """Signs a token. exp, nbf, iat: in seconds from now. A claim that is None is left out."""
        defaults = {
            "iss": self.url,
            "aud": "bridge",
            "exp": 600,
            "sub": "bot",
            "tenant": "acme",
            "scope": READ,
        }
        all_claims = {name: value for name, value in (defaults | claims).items() if value is not None}
        now = datetime.now(UTC).timestamp()  # noqa: TID251 - the library reads the real clock
        all_claims |= {name: now + all_claims[name] for name in ("exp", "nbf", "iat") if name in all_claims}
        return jwt.encode(all_claims, signer or self.keys.get(key), algorithm, headers={"kid": key})


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.server.shutdown()
    issuer.thread.join()
    issuer.server.server_close()


@pytest.fixture
def make_api(environment: dict[str, str], runtime: Runtime, issuer: Issuer) -> Iterator[MakeApi]:
    """Creates APIs that accept tokens of the issuer; settings: of BRIDGE_OIDC_…."""
    made = []

    def make(**settings: str) -> ApiCaller:
        oidc = {"BRIDGE_OIDC_ISSUER": issuer.url, "BRIDGE_OIDC_AUDIENCE": "bridge"}
        more = {f"BRIDGE_OIDC_{name.upper()}": value for name, value in settings.items()}
        made.append(ApiCaller(Runtime(load(environment | oidc | more))))
        return made[-1]

    yield make
    for api in made:
        api.runtime.stores.redis.close()


def status(api: ApiCaller, token: str) -> int:
    return api.call("GET", "/v1/registrations", key=token).status_code


def test_a_token_opens_as_a_key_does(make_api: MakeApi, issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="bridge")
    api = make_api()
    writer = issuer.token(scope=f"openid registrations:write {READ}")
    created = api.register(key=writer)
    assert created.status_code == 201
    assert status(api, issuer.token()) == 200
    assert "registrations:write" in problem(api.register(key=issuer.token()), 403)["detail"]
    problem(api.call("GET", created.headers["Location"], key=issuer.token(tenant="other")), 404)
    assert status(api, "bootstrap-key-for-tests") == 200
    audit = [vars(record)["fields"] for record in caplog.records if record.getMessage() == "audit"]
    assert [(line["tenant"], line["key_id"]) for line in audit] == [("acme", "jwt:bot")] * 2
    assert issuer.request_count == 2


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://other.example"},
        {"aud": "other"},
        {"exp": -60},
        {"nbf": 3_600},
        {"exp": None},
        {"aud": None},
        {"tenant": None},
        {"tenant": "a:b"},
        {"tenant": ":operator"},
        {"tenant": ["acme"]},
        {"tenant": "x" * 65},
    ],
)
def test_a_token_that_is_not_for_us_opens_nothing(make_api: MakeApi, issuer: Issuer, claims: Any) -> None:
    assert status(make_api(), issuer.token(**claims)) == 401


def test_a_token_that_the_issuer_has_not_signed_opens_nothing(make_api: MakeApi, issuer: Issuer) -> None:
    api = make_api()
    other = ec.generate_private_key(ec.SECP256R1())
    good = issuer.token()
    head, body, signature = good.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","kid":"one"}').rstrip(b"=").decode()
    public = issuer.keys["one"].public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    confused = _hs256(pem, body)
    tokens = [
        issuer.token(signer=other),
        issuer.token(key="unknown", signer=other),
        issuer.token(signer=rsa.generate_private_key(65_537, 2_048), algorithm="RS256"),
        f"{none}.{body}.",
        f"{head}.{body}.",
        f"{head}.{body}.{signature[::-1]}",
        confused,
        "..",
        "a.b.c",
    ]
    assert [status(api, token) for token in tokens] == [401] * len(tokens)
    assert status(api, good) == 200


def _hs256(secret: bytes, body: str) -> str:
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"one"}').rstrip(b"=").decode()
    mac = hmac.digest(secret, f"{head}.{body}".encode(), "sha256")
    return f"{head}.{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def principal_of(runtime: Runtime, token: str) -> Principal | None:
    jwt = jwt_authenticator(runtime.settings, runtime.stores.clock.world_time)
    return Authenticator(runtime.stores.api_keys, jwt).principal(token)


@pytest.mark.parametrize("day_s", [86_400, -86_400])
def test_a_token_is_judged_by_the_bridges_time_and_not_by_this_machines(
    make_api: MakeApi, issuer: Issuer, day_s: int
) -> None:
    runtime = make_api().runtime
    clock = ManualClock(runtime.stores.clock() + timedelta(seconds=day_s))
    authenticator = jwt_authenticator(runtime.settings, clock)
    assert authenticator
    assert authenticator.principal(issuer.token(exp=day_s + 60, nbf=day_s - 60, iat=day_s))
    assert authenticator.principal(issuer.token(exp=day_s - 20, nbf=day_s + 20))  # within the skew
    assert authenticator.principal(issuer.token(exp=day_s - 60)) is None
    assert authenticator.principal(issuer.token(exp=day_s + 600, nbf=day_s + 60)) is None
    assert authenticator.principal(issuer.token(exp=day_s + 600, iat=day_s + 60)) is None


def test_a_service_account_of_kubernetes_is_its_namespaces(make_api: MakeApi, issuer: Issuer) -> None:
    api = make_api(tenant_claim="/kubernetes.io/namespace", scopes=f"{READ},deliveries:write")
    account = {"namespace": "team-b", "serviceaccount": {"name": "bot"}}
    token = issuer.token(tenant=None, scope=None, **{"kubernetes.io": account})
    principal = principal_of(api.runtime, token)
    assert principal
    assert (principal.tenant, principal.scopes) == (
        "team-b",
        frozenset({Scope.REGISTRATIONS_READ, Scope.DELIVERIES_WRITE}),
    )


@pytest.mark.parametrize(
    ("claim", "scopes"), [([READ, "x"], {READ}), ("", set()), (5, set()), ("admin", {"admin"}), (None, set())]
)
def test_scopes_are_those_that_we_know(make_api: MakeApi, issuer: Issuer, claim: Any, scopes: set[str]) -> None:
    principal = principal_of(make_api().runtime, issuer.token(scope=claim))
    assert principal
    assert principal.scopes == scopes


def test_keys_are_kept_while_the_issuer_is_unavailable_and_fetched_when_a_new_one_comes(
    make_api: MakeApi, issuer: Issuer
) -> None:
    api = make_api()
    assert status(api, issuer.token()) == 200
    issuer.status = 500
    assert status(api, issuer.token()) == 200
    issuer.keys["two"] = ec.generate_private_key(ec.SECP256R1())
    request_count = issuer.request_count
    # Tokens with unknown key ids must not cause a request each.
    assert [status(api, issuer.token(key="two")) for _ in range(20)] == [401] * 20
    assert issuer.request_count - request_count <= 2


def test_without_its_keys_nobody_can_say_who_asks(make_api: MakeApi, issuer: Issuer) -> None:
    issuer.status = 500
    answer = make_api().call("GET", "/v1/registrations", key=issuer.token())
    problem(answer, 503)
    assert int(answer.headers["Retry-After"]) > 0


def test_an_issuer_needs_an_audience(environment: dict[str, str]) -> None:
    with pytest.raises(OperatorError, match="BRIDGE_OIDC_AUDIENCE"):
        load(environment | {"BRIDGE_OIDC_ISSUER": "https://a.example"})


def test_without_an_issuer_a_token_is_no_key(runtime: Runtime, issuer: Issuer) -> None:
    assert principal_of(runtime, issuer.token()) is None
