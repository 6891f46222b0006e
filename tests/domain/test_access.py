"""The scopes of a principal."""

from app.domain.access import Principal, Scope


def test_a_key_may_do_what_its_scopes_say() -> None:
    reader = Principal("t", frozenset({Scope.REGISTRATIONS_READ}))
    assert reader.may(Scope.REGISTRATIONS_READ)
    assert not reader.may(Scope.REGISTRATIONS_WRITE)


def test_an_admin_may_do_everything() -> None:
    assert all(Principal("t", frozenset({Scope.ADMIN})).may(scope) for scope in Scope)
