"""Who may ask, how much, and how long it may take."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from fieldguide.serving.guard import SECURITY_HEADERS, Guard
from fieldguide.serving.limits import Limits
from tests.serving.conftest import JPEG, running


def pieces(total: int, size: int = 1000) -> Iterator[bytes]:
    """A body that comes in pieces and says nothing of its length."""
    for _ in range(0, total, size):
        yield bytes(size)


def test_every_answer_has_the_security_headers(client, red):
    answers = [
        client.get("/healthz"),
        client.get("/nowhere"),
        client.post("/v1/predict", content=red, headers=JPEG),
        client.post("/v1/predict", content=b"", headers={"content-type": "text/plain"}),
        client.get("/v1/predict"),
    ]
    assert [answer.status_code for answer in answers] == [200, 404, 200, 415, 405]
    for answer in answers:
        assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers
    assert answers[-1].json() == {"error": "Method Not Allowed"}


def test_a_body_beyond_the_limit_is_refused_whatever_it_declares(classifier, red):
    with running(classifier, limits=Limits(max_body_bytes=20_000)) as client:
        for content in (bytes(20_001), pieces(30_000)):
            answer = client.post("/v1/predict", content=content, headers=JPEG)
            assert answer.status_code == 413
            assert answer.json() == {"error": "A request may have at most 20,000 bytes."}
            assert answer.headers["connection"] == "close"
        form = client.post("/v1/predict", files={"f": ("x", bytes(30_000))})
        assert form.status_code == 413
        assert client.post("/v1/predict", content=red, headers=JPEG).status_code == 200
        assert client.app.num_bytes == client.app.num_requests == 0


def test_a_body_that_does_not_come_is_not_waited_for():
    async def app(scope, receive, send):
        raise AssertionError("the app reads the body, which does not come") if await receive() else None

    answers = []

    async def nothing_comes():
        await asyncio.sleep(60)

    async def send(message):
        answers.append(message)

    from starlette.exceptions import HTTPException

    guard = Guard(app, limits=Limits(body_seconds=0.05))
    scope = {"type": "http", "method": "POST", "path": "/v1/predict", "headers": []}
    with pytest.raises(HTTPException) as refused:
        asyncio.run(guard(scope, nothing_comes, send))
    assert refused.value.status_code == 408
    assert guard.num_requests == 0


def test_a_token_is_asked_for_where_there_is_one(classifier, red):
    with running(classifier, token="s3cret-ü") as client:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic s3cret"}):
            answer = client.post("/v1/predict", content=red, headers={**JPEG, **headers})
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
        assert client.get("/v1/model").status_code == client.get("/metrics").status_code == 401
        assert client.get("/openapi.json").status_code == 401
        assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
    with running(classifier, token="s3cret") as client:
        answer = client.post("/v1/predict", content=red, headers={**JPEG, "authorization": "bearer s3cret"})
        assert answer.status_code == 200


@pytest.mark.parametrize("token", ["s3cret-ü", "s3cret-à", "s3cret-€", "s3cret"])
def test_a_token_may_have_letters_beyond_ascii(classifier, token):
    with running(classifier, token=token) as client:

        def status(content: bytes) -> int:
            return client.get("/v1/model", headers=[(b"authorization", b"Bearer " + content)]).status_code

        assert status(token.encode("utf-8")) == 200
        assert status(token.encode("latin-1", "replace")) == (401 if "€" in token else 200)
        for wrong in (b"s3cret-", b"s3cret-?", "s3cret-Ã¼".encode(), b""):
            assert status(wrong) == 401


def test_only_its_own_names_are_answered_to(classifier):
    with running(classifier, hosts=("127.0.0.1", "[::1]", "localhost")) as client:
        for host in ("localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST"):
            assert client.get("/v1/model", headers={"host": host}).status_code == 200
        for host in ("evil.example", "localhost.evil.example", ""):
            assert client.get("/v1/model", headers={"host": host}).status_code == 421


def test_pages_of_other_sites_may_not_send(classifier, red):
    with running(classifier, sites=("pictures.example",)) as client:

        def status(origin: str) -> int:
            headers = {**JPEG, "host": "localhost:8000", "origin": origin}
            return client.post("/v1/predict", content=red, headers=headers).status_code

        assert status("http://localhost:8000") == status("https://pictures.example") == 200
        for origin in ("https://evil.example", "http://localhost:3000", "null", "", "https://pictures.example.evil.example"):
            assert status(origin) == 403


def test_beyond_the_bound_the_answer_is_try_again(classifier, red):
    with running(classifier, limits=Limits(max_requests=1)) as client:
        is_started, may_end = threading.Event(), threading.Event()
        statuses = []

        def slowly() -> Iterator[bytes]:
            yield red[:100]
            is_started.set()
            may_end.wait(20)
            yield red[100:]

        # The test client gives a body as a whole, so what is under way is counted by hand.
        client.app.num_requests = 1
        answer = client.post("/v1/predict", content=red, headers=JPEG)
        statuses.append(answer.status_code)
        assert answer.headers["retry-after"] == "1"
        assert client.get("/healthz").status_code == 200
        client.app.num_requests = 0
        statuses.append(client.post("/v1/predict", content=red, headers=JPEG).status_code)
        assert statuses == [503, 200]


def test_bodies_may_not_take_more_memory_than_allowed_together(classifier, red):
    with running(classifier, limits=Limits(max_waiting_bytes=1000)) as client:
        assert client.post("/v1/predict", content=red + bytes(1000), headers=JPEG).status_code == 503
        assert client.app.num_bytes == 0
