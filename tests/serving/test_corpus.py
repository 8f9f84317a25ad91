"""Every broken and hostile picture of the corpus, sent to the server: each is answered, and none brings anything down."""

from __future__ import annotations

from collections import Counter

import fieldguide
from tests.corpus import uploads
from tests.serving.conftest import running


def test_each_hostile_upload_gets_an_answer_and_no_decoder_is_lost(classifier: fieldguide.Classifier) -> None:
    statuses: Counter[int] = Counter()
    with running(classifier) as client:
        for case in uploads():
            headers = {"content-type": "application/octet-stream"}
            response = client.post("/v1/predict", content=case.content, headers=headers)
            statuses[response.status_code] += 1
            (picture,) = response.json()["predictions"]
            assert (picture["error"] is None) == (response.status_code == 200)
            assert case.may_be_used or (picture["error"] is not None) == bool(case.reasons), (str(case), picture["error"])
            assert case.name not in response.text
        assert "fieldguide_decoders_replaced 0.0" in client.get("/metrics").text
        assert client.get("/readyz").status_code == 200
    assert statuses.keys() == {200, 415, 422}
    assert statuses.total() > 200
