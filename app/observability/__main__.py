"""`python -m app.observability`: prints docs/metrics.md."""

from collections.abc import Iterator

from app.observability.metric_definitions import ALL, MetricDefinition, MetricSource

HEAD = """# What is measured

Made by `python -m app.observability > docs/metrics.md`; a test holds it to the code.

`GET /metrics` shows it as Prometheus reads it. With `BRIDGE_METRICS_BIND` set, API and workers each show it at that
address, and nowhere else; without, the API shows it on its own port and on that of its probes, and workers do not
show theirs. What several processes of one API count is added up. The dispatcher has no page of its own: what it does
is told in Redis.

Labels have few values: no URL, no job, and no tenant unless `BRIDGE_METRICS_TENANTS` is true (then where it says
`tenant`). What is counted begins with 0 when its process starts: add it up (`sum(rate(…))`). What is read from Redis
is true of the whole deployment, and every process says the same: take the `max`, or the `min`. Reading costs the same
however much there is, and gives up after some seconds. Projects are shown by processes that know them: API and poll
workers.

Alerts on these are in `helm/files/alerts.yaml`, with what to do in [operations.md](operations.md#alerts); a dashboard
is `helm/files/dashboard.json`.
"""


def document() -> str:
    return "\n".join([HEAD, *(line for source in MetricSource for line in _section(source))])


def _section(source: MetricSource) -> Iterator[str]:
    yield f"## {source[0].upper()}{source[1:]}\n"
    yield "| name | type | labels | what |"
    yield "|---|---|---|---|"
    yield from (_row(each) for each in ALL if each.source is source)
    yield ""


def _row(each: MetricDefinition) -> str:
    labels = [f"`{label}`" for label in each.labels] + (["(`tenant`)"] if each.by_tenant else [])
    return f"| `{each.full_name}` | {each.kind} | {', '.join(labels)} | {each.meaning} |"


if __name__ == "__main__":
    print(document(), end="")  # noqa: T201 - that is what it is for
