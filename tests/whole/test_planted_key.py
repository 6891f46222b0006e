"""An API key, planted in every place that it could leak from, and looked for in every place that it could leak to."""

from typing import Any

import pytest
import requests

from tests.whole.test_secrets_stay_secret import everywhere, leaks

pytestmark = pytest.mark.slow  # processes start, and die

JSON = {"Content-Type": "application/json"}


def test_a_key_is_found_nowhere(workers: Any) -> None:
    """Made, rotated, used, and sent where it does not belong: not in a log, in Redis, or in what was answered."""
    api, admin = workers.bridge.url, {"Authorization": f"Bearer {workers.bridge.key}"}
    once = admin | {"Idempotency-Key": "one"}
    made = requests.post(f"{api}/v1/keys", json={"name": "planted"}, headers=once, timeout=10).json()
    rotated = requests.post(f"{api}/v1/keys/{made['id']}/rotate", json={}, headers=admin, timeout=10).json()
    keys = [made["key"], rotated["key"]]
    answers = []
    for key in keys:
        shown = {"Authorization": f"Bearer {key}"}
        good = {"job_id": workers.job(), "callback_url": workers.receiver.url}
        order = {"headers": shown, "timeout": 10}
        path = f"{api}/v1/registrations"
        answers += [
            requests.post(path, json=good, **order),
            requests.post(path, json=good | {"headers": {"X-Key": key}}, **order),
            requests.post(path, json=good | {"callback_url": f"{workers.receiver.url}/{key}?k={key}"}, **order),
            requests.post(path, json=good, headers=shown | {"Idempotency-Key": key, "traceparent": key}, timeout=10),
            requests.post(path, json=good | {"secret": key}, **order),
            requests.post(path, json=good | {"api_key": key, "deadline_s": key}, **order),
            requests.post(
                path, data=f'{{"key": {key}', headers=shown | {"Content-Type": "application/json"}, timeout=10
            ),
            requests.post(f"{api}/v1/callbacks/test", json={"callback_url": f"ftp://{key}.example"}, **order),
            requests.get(f"{path}?cursor={key}&limit={key}&state={key}", **order),
            requests.get(f"{path}/{key}", **order),
            requests.get(f"{api}/v1/jobs/{key}", **order),
            requests.get(f"{api}/v1/events/stream?after={key}", **order),
            requests.get(path, headers={"Authorization": key}, timeout=10),
            requests.get(path, headers={"Authorization": f"Basic {key}"}, timeout=10),
            requests.get(path, headers={"Authorization": f"Bearer {key}x"}, timeout=10),
            requests.delete(f"{api}/v1/keys/{key}", headers=admin, timeout=10),
            requests.get(f"{api}/v1/keys", headers=admin, timeout=10),
        ]
    statuses = [answer.status_code for answer in answers]
    assert statuses == [201] * 4 + [422, 422, 400, 422, 422, 404, 404, 422, 401, 401, 401, 404, 200] + statuses[17:]
    assert set(statuses) <= {200, 201, 400, 401, 404, 422}
    workers.receiver.wait_for(4)
    texts = [answer.text for answer in answers] + [str(answer.headers) for answer in answers]
    seen = everywhere(workers)
    assert len(seen) > 20
    secrets = [*keys, *(key.split("_", 2)[2] for key in keys)]  # the secret may have `_` in it
    assert leaks(secrets, texts + seen) == []
