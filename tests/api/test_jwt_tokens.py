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
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.api.auth.authentication import Authenticator
from app.api.auth.issuer_keys import DISCOVERY, IssuerKeys
from app.api.auth.jwt_tokens import jwt_authenticator
from app.bootstrap.runtime import Runtime
from app.config.settings import load
from app.domain.access import Principal, Scope
from app.domain.errors import OperatorError
from tests.support.api_client import ApiCaller, problem
from tests.support.manual_clock import ManualClock

READ = "registrations:read"
RSA_KEY = rsa.generate_private_key(65_537, 2_048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
MakeApi = Callable[..., ApiCaller]


def public_jwk(key: Any, **more: Any) -> dict[str, Any]:
    return jwk_of(key.public_key()) | more


def jwk_of(key: Any) -> dict[str, Any]:
    writer: Any = jwt.algorithms.OKPAlgorithm
    if isinstance(key, rsa.RSAPublicKey | rsa.RSAPrivateKey):
        writer = jwt.algorithms.RSAAlgorithm
    elif isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey):
        writer = jwt.algorithms.ECAlgorithm
    return dict(writer.to_jwk(key, as_dict=True))


class Issuer:
    """An OpenID provider: its configuration document, its keys, and the number of requests for them."""

    def __init__(self) -> None:
        self.keys = {"one": ec.generate_private_key(ec.SECP256R1())}
        self.request_count = 0
        self.status = 200
        self.documents: dict[str, bytes] = {}  # by path, instead of the usual ones
        self.headers: dict[str, str] = {}
        issuer = self

        class IssuerHandler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = issuer.answer(self.path)
                self.send_response(issuer.status)
                for name, value in ({"Content-Length": str(len(body))} | issuer.headers).items():
                    self.send_header(name, value)
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
        if path in self.documents:
            return self.documents[path]
        if path == "/.well-known/openid-configuration":
            return json.dumps({"issuer": self.url, "jwks_uri": f"{self.url}/keys"}).encode()
        shown = [public_jwk(key) | {"kid": id, "use": "sig"} for id, key in self.keys.items()]
        return json.dumps({"keys": [*shown, {"kty": "odd", "kid": "x"}]}).encode()

    def publish(self, *keys: Any) -> None:
        self.documents["/keys"] = json.dumps({"keys": keys}).encode()

    def token(self, *, key: str | None = "one", algorithm: str = "ES256", signer: Any = None, **claims: Any) -> str:
        """Signs a token. exp, nbf, iat: in seconds from now. A claim that is None is left out, and so is the key id."""
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
        return jwt.encode(
            all_claims, signer or self.keys.get(key or ""), algorithm, headers={"kid": key} if key else None
        )


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


def test_a_damaged_key_in_the_set_hides_no_other(make_api: MakeApi, issuer: Issuer) -> None:
    sound = json.dumps(public_jwk(issuer.keys["one"], kid="one")).encode()
    junk = b'null,7,"x",[],{},{"kty":["RSA"]},{"kty":"EC","crv":"P-256","x":5},{"kty":"RSA","n":"AA","e":"AA"}'
    issuer.documents["/keys"] = (
        b'{"note":"\xb0\xb2\t","keys":[' + junk + b',{"kid":"a\x00","kty":"oct"},' + sound + b"]}"
    )
    assert status(make_api(), issuer.token()) == 200


def test_the_sound_keys_of_a_damaged_set_are_used(make_api: MakeApi, issuer: Issuer) -> None:
    sound = json.dumps(public_jwk(issuer.keys["one"], kid="one")).encode()
    issuer.documents["/keys"] = b'{"keys":[' + sound + b',{"kty":"RSA","n":"AQ'
    assert status(make_api(), issuer.token()) == 200


FITTING: list[tuple[dict[str, Any], str, Any]] = [
    (public_jwk(EC_KEY), "ES256", EC_KEY),
    (public_jwk(EC_KEY, kid="any", alg="ES256", use="sig", key_ops=["verify"]), "ES256", EC_KEY),
    (public_jwk(RSA_KEY), "RS256", RSA_KEY),
    (public_jwk(RSA_KEY), "RS512", RSA_KEY),
    (public_jwk(RSA_KEY), "PS256", RSA_KEY),
    (public_jwk(RSA_KEY, alg="PS384"), "PS384", RSA_KEY),
    (public_jwk(ED_KEY), "EdDSA", ED_KEY),
]


@pytest.mark.parametrize(("jwk", "algorithm", "signer"), FITTING)
def test_a_token_without_a_key_id_opens_if_one_key_fits(
    make_api: MakeApi, issuer: Issuer, jwk: dict[str, Any], algorithm: str, signer: Any
) -> None:
    other = rsa.generate_private_key(65_537, 2_048) if algorithm.startswith("E") else issuer.keys["one"]
    issuer.publish(public_jwk(other), jwk, public_jwk(signer, use="enc"), {"kty": "oct", "k": "c2VjcmV0"})
    assert status(make_api(), issuer.token(key=None, algorithm=algorithm, signer=signer)) == 200


def test_a_token_without_a_key_id_opens_nothing_if_several_keys_fit(make_api: MakeApi, issuer: Issuer) -> None:
    issuer.publish(public_jwk(EC_KEY, kid="a"), public_jwk(issuer.keys["one"], kid="one"))
    api = make_api()
    assert status(api, issuer.token(key=None, signer=EC_KEY)) == 401
    assert status(api, issuer.token()) == 200


@pytest.mark.parametrize(
    "more", [{"use": "enc"}, {"key_ops": ["sign"]}, {"key_ops": "verify"}, {"alg": "ES384"}, {"alg": 5}]
)
def test_a_key_that_is_not_for_verifying_signatures_verifies_none(
    make_api: MakeApi, issuer: Issuer, more: dict[str, Any]
) -> None:
    issuer.publish(public_jwk(EC_KEY, kid="a", **more), public_jwk(issuer.keys["one"], kid="one"))
    api = make_api()
    assert status(api, issuer.token(key="a", signer=EC_KEY)) == 401
    assert status(api, issuer.token()) == 200


def test_a_published_private_or_shared_key_verifies_nothing(make_api: MakeApi, issuer: Issuer) -> None:
    shared = base64.urlsafe_b64encode(b"s" * 32).rstrip(b"=").decode()
    private = jwk_of(EC_KEY) | {"kid": "a"}
    issuer.publish(
        private, {"kty": "oct", "kid": "s", "k": shared, "alg": "HS256"}, public_jwk(issuer.keys["one"], kid="one")
    )
    api = make_api()
    assert "d" in private
    assert status(api, issuer.token(key="a", signer=EC_KEY)) == 401
    assert status(api, issuer.token(key="s", algorithm="HS256", signer=b"s" * 32)) == 401
    assert status(api, issuer.token()) == 200


def test_a_key_id_that_comes_twice_is_that_of_either_key(make_api: MakeApi, issuer: Issuer) -> None:
    issuer.publish(*(public_jwk(key, kid="one") for key in (EC_KEY, RSA_KEY, issuer.keys["one"])))
    api = make_api()
    assert status(api, issuer.token()) == 200
    assert status(api, issuer.token(signer=EC_KEY)) == 200
    assert status(api, issuer.token(algorithm="RS384", signer=RSA_KEY)) == 200
    assert status(api, issuer.token(signer=ec.generate_private_key(ec.SECP256R1()))) == 401


UNFETCHED: list[tuple[dict[str, bytes], str]] = [
    ({"/keys": b"<html>not found</html>"}, "the answer is no JSON object"),
    ({"/keys": b'[{"kty":"RSA"}]'}, "the answer is no JSON object"),
    ({"/keys": b'{"keys":[]}'}, "has no key for signatures"),
    ({"/keys": b'{"keys":{"kty":"RSA"}}'}, "has no key for signatures"),
    ({"/keys": b'{"keys":["' + b"x" * 300_000 + b'"]}'}, "longer than 256 KiB"),
    ({DISCOVERY: b'{"jwks_uri":["https://a.example"]}'}, "set BRIDGE_OIDC_KEYS_URL"),
    ({DISCOVERY: b'{"jwks_uri":"file:///etc/passwd"}'}, "set BRIDGE_OIDC_KEYS_URL"),
    ({DISCOVERY: b'{"jwks_uri":"https://a b:x/?secret"}'}, "https://a b:x/: the URL is malformed"),
    ({DISCOVERY: b"\xff\xfe"}, "the answer is no JSON object"),
]


@pytest.mark.parametrize(("documents", "reason"), UNFETCHED)
def test_the_log_says_why_there_are_no_keys(
    make_api: MakeApi, issuer: Issuer, caplog: pytest.LogCaptureFixture, documents: dict[str, bytes], reason: str
) -> None:
    issuer.documents = documents
    problem(make_api().call("GET", "/v1/registrations", key=issuer.token()), 503)
    assert reason in not_fetched(caplog)
    assert "secret" not in not_fetched(caplog)


def not_fetched(caplog: pytest.LogCaptureFixture) -> str:
    [line] = [vars(record)["fields"] for record in caplog.records if record.getMessage() == "oidc.keys_not_fetched"]
    return str(line["reason"])


def test_the_log_names_where_the_keys_have_moved_to(
    make_api: MakeApi, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    issuer.status, issuer.headers = 301, {"Location": "https://sso.example/realm?x=1"}
    problem(make_api().call("GET", "/v1/registrations", key=issuer.token()), 503)
    assert not_fetched(caplog).endswith("HTTP 301 to https://sso.example/realm: name that URL")


def test_an_issuer_that_calls_itself_otherwise_is_told(
    make_api: MakeApi, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    named = f"{issuer.url}/"
    issuer.documents[DISCOVERY] = json.dumps({"issuer": named, "jwks_uri": f"{issuer.url}/keys"}).encode()
    assert status(make_api(), issuer.token(iss=named)) == 401
    lines = [vars(record)["fields"] for record in caplog.records if record.getMessage() == "oidc.issuer_differs"]
    assert lines == [{"issuer": issuer.url, "named": named}]


def test_an_empty_set_does_not_take_away_the_keys_that_were_there(make_api: MakeApi, issuer: Issuer) -> None:
    now = [0.0]
    keys = IssuerKeys(issuer.url, None, None, lambda: now[0])
    assert len(keys.fitting("one", "ES256")) == 1
    issuer.publish()
    now[0] = 601.0
    assert len(keys.fitting("one", "ES256")) == 1


ODD_HEADERS = [
    b"[" * 5_000,
    b'{"alg":["ES256"],"kid":"one"}',
    b'{"alg":{},"kid":"one"}',
    b'{"alg":"ES256","kid":["one"]}',
    b'{"kid":"one"}',
    b'{"alg":"ES256","kid":"one","crit":["x"],"x":1}',
    b'"ES256"',
    b"\xff",
]


@pytest.mark.parametrize("header", ODD_HEADERS)
def test_an_odd_header_opens_nothing(make_api: MakeApi, issuer: Issuer, header: bytes) -> None:
    _, body, signature = issuer.token().split(".")
    token = f"{base64.urlsafe_b64encode(header).rstrip(b'=').decode()}.{body}.{signature}"
    assert principal_of(make_api().runtime, token) is None


ODD_CLAIMS: list[dict[str, Any]] = [
    {"aud": ["other", 5, None]},
    {"aud": {"bridge": True}},
    {"aud": 5},
    {"sub": 5},
    {"sub": ["bot"]},
    {"tenant": 5},
    {"tenant": {"name": "acme"}},
]


@pytest.mark.parametrize("claims", ODD_CLAIMS)
def test_claims_of_the_wrong_type_open_nothing(make_api: MakeApi, issuer: Issuer, claims: dict[str, Any]) -> None:
    assert status(make_api(), issuer.token(**claims)) == 401


def test_a_list_of_audiences_with_ours_opens(make_api: MakeApi, issuer: Issuer) -> None:
    api = make_api()
    assert status(api, issuer.token(aud=["other", "bridge"])) == 200
    assert status(api, issuer.token(sub="\ud800")) == 200
