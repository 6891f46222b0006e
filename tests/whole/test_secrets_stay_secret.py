"""Secrets planted in every place they could leak from, and looked for in every place they could leak to."""

from app.devkit.processes import wait_until


def test_no_secret_is_in_a_log_or_lies_open_in_redis(workers) -> None:
    workers.receiver.statuses = [(500, {})]
    told = workers.register(workers.job())
    workers.wait_until_delivered(told)
    workers.register("nobody-knows-me", callback_url=f"{workers.receiver.url}?token=s3cret-query")
    workers.receiver.wait_for(2)
    wait_until(lambda: "job.lost" in workers.log_of("worker-poll"), timeout=30, what="the log of the lost job")
    secrets = [
        "s3cret",
        workers.bridge.secret.removeprefix("whsec_"),
        workers.bridge.key,
        workers.about_cph["iam_password"],
    ]
    seen = [path.read_text() for path in workers.bridge.logs.glob("*.log") if path.stem not in ("inbox", "standin")]
    seen += workers.everything_in_redis()
    assert len(seen) > 20
    leaks = [(secret, text[:200]) for secret in secrets for text in seen if secret in text]
    assert leaks == []
