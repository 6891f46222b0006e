"""The stand-in's IAM, checked with OpenStack's keystoneauth1: Huawei Cloud's IAM speaks Keystone v3."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from keystoneauth1.exceptions.http import Unauthorized
from keystoneauth1.identity.v3 import Password
from keystoneauth1.session import Session


def log_in(standin: Any, **changes: str) -> Password:
    about = standin.about
    given = {
        "username": about["iam_user"],
        "password": about["iam_password"],
        "user_domain_name": about["iam_domain"],
        "project_id": about["project_id"],
    }
    return Password(f"{about['url']}/v3", include_catalog=False, **{**given, **changes})


@pytest.fixture
def session() -> Iterator[Session]:
    session = Session()
    yield session
    session.session.close()


def ask(session: Session, auth: Password, standin: Any, job_id: str) -> int:
    url = f"{standin.about['url']}/v1/{standin.about['project_id']}/cloud-phone/jobs/{job_id}"
    return int(session.get(url, auth=auth, authenticated=True, raise_exc=False).status_code)


def logins(standin: Any) -> int:
    return int(standin.call("GET", "/_standin/calls").json()["iam_tokens"])


def test_keystone_reads_a_token_its_end_and_its_scope(standin: Any, session: Session) -> None:
    access = log_in(standin).get_access(session)
    life = access.expires - datetime.now(UTC)  # noqa: TID251 the real clock
    assert timedelta(hours=23, minutes=59) < life <= timedelta(hours=24, seconds=1)
    assert (access.project_id, access.username) == (standin.about["project_id"], standin.about["iam_user"])
    assert (access.project_scoped, access.user_domain_name) == (True, standin.about["iam_domain"])


def test_keystones_token_opens_cph_and_is_used_again(standin: Any, session: Session) -> None:
    auth, job_id, before = log_in(standin), standin.job()["job_id"], logins(standin)
    assert [ask(session, auth, standin, job_id) for _ in range(3)] == [200] * 3
    assert logins(standin) == before + 1


def test_keystone_logs_in_again_once_its_token_is_refused(serve: Any, session: Session) -> None:
    standin = serve("standin")  # not the shared one, whose token must stay valid
    auth, job_id = log_in(standin), standin.job()["job_id"]
    assert ask(session, auth, standin, job_id) == 200
    first = auth.get_token(session)
    standin.order("/_standin/tokens/expire", {})
    assert ask(session, auth, standin, job_id) == 200
    assert auth.get_token(session) != first


def test_keystone_logs_in_again_ahead_of_the_end(serve: Any, session: Session) -> None:
    # Keystoneauth renews in the last two minutes.
    standin = serve("standin", "--token-life-s", "60")
    auth, before = log_in(standin), logins(standin)
    assert len({auth.get_token(session) for _ in range(3)}) == 3
    assert logins(standin) == before + 3


@pytest.mark.parametrize("wrong", ["username", "password", "user_domain_name", "project_id"])
def test_keystone_reports_that_something_is_wrong(standin: Any, session: Session, wrong: str) -> None:
    with pytest.raises(Unauthorized, match=r"The username or password is wrong\."):
        log_in(standin, **{wrong: "guess"}).get_token(session)
