"""API keys are sent in every field from which they could leak, and searched for wherever they could leak to."""

import pytest
import requests

from tests.whole.conftest import Deployment
from tests.whole.test_secrets_stay_secret import all_texts, leaks

pytestmark = pytest.mark.slow  # starts and kills processes

JSON = {"Content-Type": "application/json"}


def test_a_key_is_found_nowhere(running_deployment: Deployment) -> None:
    """Keys are created, rotated, used, and sent in wrong fields. No log, answer or value in Redis contains one."""
    api, admin = running_deployment.bridge.url, {"Authorization": f"Bearer {running_deployment.bridge.key}"}
    idempotent = admin | {"Idempotency-Key": "one"}
    created = requests.post(f"{api}/v1/keys", json={"name": "planted"}, headers=idempotent, timeout=10).json()
    rotated = requests.post(f"{api}/v1/keys/{created['id']}/rotate", json={}, headers=admin, timeout=10).json()
    keys = [created["key"], rotated["key"]]
    answers = []
    for key in keys:
        authorization = {"Authorization": f"Bearer {key}"}
        valid = {"job_id": running_deployment.job(), "callback_url": running_deployment.receiver.url}
        options = {"headers": authorization, "timeout": 10}
        path = f"{api}/v1/registrations"
        answers += [
            requests.post(path, json=valid, **options),
            requests.post(path, json=valid | {"headers": {"X-Key": key}}, **options),
            requests.post(
                path, json=valid | {"callback_url": f"{running_deployment.receiver.url}/{key}?k={key}"}, **options
            ),
            requests.post(
                path, json=valid, headers=authorization | {"Idempotency-Key": key, "traceparent": key}, timeout=10
            ),
            requests.post(path, json=valid | {"secret": key}, **options),
            requests.post(path, json=valid | {"api_key": key, "deadline_s": key}, **options),
            requests.post(
                path, data=f'{{"key": {key}', headers=authorization | {"Content-Type": "application/json"}, timeout=10
            ),
            requests.post(f"{api}/v1/callbacks/test", json={"callback_url": f"ftp://{key}.example"}, **options),
            requests.get(f"{path}?cursor={key}&limit={key}&state={key}", **options),
            requests.get(f"{path}/{key}", **options),
            requests.get(f"{api}/v1/jobs/{key}", **options),
            requests.get(f"{api}/v1/events/stream?after={key}", **options),
            requests.get(path, headers={"Authorization": key}, timeout=10),
            requests.get(path, headers={"Authorization": f"Basic {key}"}, timeout=10),
            requests.get(path, headers={"Authorization": f"Bearer {key}x"}, timeout=10),
            requests.delete(f"{api}/v1/keys/{key}", headers=admin, timeout=10),
            requests.get(f"{api}/v1/keys", headers=admin, timeout=10),
        ]
    statuses = [answer.status_code for answer in answers]
    assert statuses == [201] * 4 + [422, 422, 400, 422, 422, 404, 404, 422, 401, 401, 401, 404, 200] + statuses[17:]
    assert set(statuses) <= {200, 201, 400, 401, 404, 422}
    running_deployment.receiver.wait_for(4)
    texts = [answer.text for answer in answers] + [str(answer.headers) for answer in answers]
    stored = all_texts(running_deployment)
    assert len(stored) > 20
    secrets = [*keys, *(key.split("_", 2)[2] for key in keys)]  # the secret may have `_` in it
    assert leaks(secrets, texts + stored) == []
