"""Sample events, one of every type and some with every optional value missing: each format must handle them all."""

from datetime import UTC, datetime

from app.domain.event import DestinationChange, Event, Group, OwnEventType
from app.domain.job import Job, JobState, Unresolved, UnresolvedReason

AT = datetime(2019, 4, 26, 7, 0, 8, tzinfo=UTC)
SUCCEEDED = Job(
    job_id="6837531fd3f54550927b930180a706bf",
    state=JobState.SUCCEEDED,
    status=2,
    request_id="2676a3b4f7df49c297c6775989806d32",
    phone_id="9b28fbe50ded4060b8149a47e55dba82",
    begin_time="2019-04-26T07:00:00Z",
    end_time="2019-04-26T07:00:06Z",
)
FAILED = Job(
    job_id="81c1fc0ee9d0c6cd57605551fbd206b7",
    state=JobState.FAILED,
    status=-1,
    server_id="1564b1f2d8a14d0cb7d1d2b5d3b3a8d7",
    begin_time="2019-04-26T07:00:00Z",
    end_time="2019-04-26T07:00:06Z",
    error_code="CPS.0003",
    error_msg='Internal "error".\n',
    execute_msg="\\",
)
BARE = Job(job_id=None, state=JobState.FAILED)
LOST = Job(
    job_id="2add51de3b97907dc442467e4e4c9cd1",
    state=JobState.LOST,
    unresolved=Unresolved(UnresolvedReason.NEVER_SEEN, last_answer_at=AT),
)
OVERDUE = Job(
    job_id="9b28b86f362b18009b48bca52f959f20",
    state=JobState.OVERDUE,
    status=1,
    unresolved=Unresolved(UnresolvedReason.CPH_REFUSED, last_answer_at=AT, last_error="APIGW.0802"),
)
EARLIER_OVERDUE = Job(
    job_id="9b28b86f362b18009b48bca52f959f20", state=JobState.OVERDUE, status=1
)  # of a version before
GROUP = Group(
    counts={JobState.SUCCEEDED: 1, JobState.FAILED: 2, JobState.LOST: 0, JobState.OVERDUE: 0},
    jobs=(FAILED, BARE, SUCCEEDED),
    truncated=False,
)


def sample(about: Job | Group | DestinationChange | None, *, registered: bool = True, **metadata: object) -> Event:
    return Event(
        id="evt_01kdyqfbhg0123456789abcdef",
        registration_id="reg_01kdyqfbhgzzzzzzzzzzzzzzzz" if registered else None,
        project="default" if registered else None,
        about=about,
        observed_at=AT,
        metadata=metadata,
    )


def _change(kind: OwnEventType) -> DestinationChange:
    return DestinationChange(
        type=kind, tenant="team-b", destination="https://bot.example:443", since=AT, failures=12, held=3
    )


SAMPLES = (
    sample(SUCCEEDED, room="ops", note='"quoted"\n'),
    *(sample(job) for job in (SUCCEEDED, FAILED, BARE, LOST, OVERDUE)),
    sample(GROUP),
    sample(None),
    sample(None, registered=False),
    sample(_change(OwnEventType.DESTINATION_DISABLED)),
    sample(_change(OwnEventType.DESTINATION_REOPENED)),
    sample(EARLIER_OVERDUE),
)
