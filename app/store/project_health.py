"""The health of CPH projects, as reported by poll workers."""

from collections.abc import Sequence
from datetime import timedelta

from app.domain.job import Unresolved
from app.domain.project_health import ProjectHealth
from app.domain.times import to_ms
from app.store.engine import keys
from app.store.engine.client import Client
from app.store.engine.scripts import Argument, ScriptCall
from app.store.engine.unreadable import moment, whole
from app.store.watches import stored_failure

MILLISECOND = timedelta(milliseconds=1)


def set_project_health(project: str, health: ProjectHealth, failing: Unresolved | None = None) -> ScriptCall:
    """Stores the health of a project, except `refused_since`, which its lane has. A field that is None keeps its value.

    Exception: if CPH has answered and no expiry of the credentials is known, the stored one belonged to earlier
    credentials and is cleared. failing: why jobs have no result while the project is refused.
    """
    fields: list[Argument] = []
    if health.answered_at:
        fields += ["answered", to_ms(health.answered_at)]
    if health.failed_at:
        fields += ["failed", to_ms(health.failed_at), "failure", health.failure or ""]
        fields += ["advice", health.advice or "", "failing", stored_failure(failing)]
    if health.unreadable_at:
        fields += ["unreadable_at", to_ms(health.unreadable_at), "unreadable", health.unreadable or ""]
    if expire_at := health.credentials_expire_at:
        fields += ["expires", to_ms(expire_at)]
    elif health.answered_at:
        fields += ["expires", ""]
    if health.clock_ahead is not None:
        fields += ["ahead_ms", health.clock_ahead // MILLISECOND]
    return ScriptCall("set_project_health", project=project, fields=fields)


class ProjectHealths:
    """agenda: has a lane for each project."""

    def __init__(self, redis: Client, agenda: str) -> None:
        self._redis = redis
        self._agenda = agenda

    def of(self, projects: Sequence[str]) -> list[ProjectHealth]:
        """Returns the health of each project in order, in one round trip."""
        pipeline = self._redis.pipeline(transaction=False)
        for project in projects:
            pipeline.hgetall(keys.project(project))
            pipeline.hget(keys.lane(self._agenda, project), "refused_since")
        answers = pipeline.execute()
        return [_health(fields, since) for fields, since in zip(answers[::2], answers[1::2], strict=True)]


def _health(fields: dict[str, str], refused_since: str | None) -> ProjectHealth:
    ahead_ms = whole(fields.get("ahead_ms"), None)
    return ProjectHealth(
        answered_at=moment(fields.get("answered")),
        failed_at=moment(fields.get("failed")),
        failure=fields.get("failure"),
        advice=fields.get("advice") or None,
        refused_since=moment(refused_since),
        credentials_expire_at=moment(fields.get("expires")),
        clock_ahead=ahead_ms * MILLISECOND if ahead_ms is not None else None,
        unreadable_at=moment(fields.get("unreadable_at")),
        unreadable=fields.get("unreadable"),
    )
