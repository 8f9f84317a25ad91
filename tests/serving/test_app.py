"""What the server answers, and how it refuses."""

from __future__ import annotations

import io
import os
import re
import signal
import struct
import threading
import time
import zlib

import numpy as np
import psutil
import pytest
from PIL import Image

from fieldguide.data import decoding
from fieldguide.serving.limits import Limits
from tests.conftest import HUES, as_bytes, noisy_picture
from tests.serving.conftest import JPEG, running

KEYS = {"class_name", "nearest_class", "probability", "probabilities", "novelty", "none_of_these", "error"}


def png_that_declares(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that unpacks to width x height pixels of one color."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packer = zlib.compressobj(9)
    row = b"\0" + bytes(width)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_a_raw_body_and_a_form_get_what_the_classifier_says(client, classifier, red):
    expected = classifier.predict(red)
    raw = client.post("/v1/predict", content=red, headers=JPEG)
    form = client.post("/v1/predict", files={"whatever": ("../../etc/passwd", red, "text/plain")})
    assert raw.status_code == form.status_code == 200
    assert raw.json() == form.json()
    assert raw.json()["model"] == classifier.bundle.model_hash
    (answer,) = raw.json()["predictions"]
    assert set(answer) == KEYS
    assert answer["class_name"] == "red" == expected.class_name
    assert answer["probability"] == pytest.approx(expected.probability, abs=1e-6)
    assert answer["probabilities"] == pytest.approx(dict(expected.probabilities), abs=1e-6)
    assert answer["novelty"] == pytest.approx(expected.novelty, rel=1e-4)
    assert answer["error"] is None
    assert "passwd" not in form.text


def test_many_pictures_are_answered_in_their_order(client, picture):
    hues = [hue for seed in range(7) for hue in sorted(HUES, key=lambda hue: hash((hue, seed)))]
    files = [("files", ("x", picture(hue, 2000 + i))) for i, hue in enumerate(hues)]
    answer = client.post("/v1/predict", files=files)
    assert [p["nearest_class"] for p in answer.json()["predictions"]] == hues


def test_a_damaged_picture_among_others_keeps_its_place(client, red):
    files = [("files", ("a", red)), ("files", ("b", red[:400])), ("files", ("c", red))]
    answer = client.post("/v1/predict", files=files)
    assert answer.status_code == 200
    first, damaged, last = answer.json()["predictions"]
    assert first == last
    assert set(damaged) == KEYS
    assert damaged["class_name"] is None and damaged["probability"] is None and damaged["probabilities"] == {}
    assert damaged["error"].startswith("damaged: ")


def test_a_picture_of_something_else_is_none_of_these(client):
    answer = client.post("/v1/predict", content=as_bytes(Image.effect_noise((90, 90), 120).convert("RGB"), "PNG"), headers=JPEG)
    (prediction,) = answer.json()["predictions"]
    assert prediction["none_of_these"] is True
    assert prediction["class_name"] is None
    assert prediction["nearest_class"] in HUES
    assert prediction["novelty"] > 1


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (b"", 422, "the file is empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "it holds SVG or XML"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", 415, "PostScript"),
        (b"GIF89a", 415, "not a picture"),
        (as_bytes(noisy_picture((9, 9, 9), 0), "JPEG")[:300], 422, "damaged"),
    ],
)
def test_what_is_no_picture_is_refused_with_its_reason(client, content, status, reason):
    answer = client.post("/v1/predict", content=content, headers=JPEG)
    assert answer.status_code == status
    assert reason in answer.json()["predictions"][0]["error"]


@pytest.mark.parametrize("size", [(20000, 20000), (9000, 9000)])
def test_a_decompression_bomb_is_refused_and_takes_no_memory(client, size):
    content = png_that_declares(*size)
    assert len(content) < 500_000
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    before = sum(process.memory_info().rss for process in processes)
    answer = client.post("/v1/predict", content=content, headers={"content-type": "image/png"})
    assert answer.status_code == 422
    assert re.search("pixels|million", answer.json()["predictions"][0]["error"])
    assert sum(process.memory_info().rss for process in processes) - before < 20_000_000


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/x-www-form-urlencoded"])
def test_another_kind_of_content_is_refused(client, red, kind):
    answer = client.post("/v1/predict", content=red, headers={"content-type": kind})
    assert answer.status_code == 415
    assert kind in answer.json()["error"]


@pytest.mark.parametrize("body", [b"", b"--x\r\n\r\n", b"\0" * 100])
def test_a_broken_form_is_refused(client, body):
    answer = client.post("/v1/predict", content=body, headers={"content-type": "multipart/form-data; boundary=x"})
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]


def test_more_pictures_than_allowed_are_refused(classifier, red):
    with running(classifier, limits=Limits(max_pictures=2)) as client:
        assert client.post("/v1/predict", files=[("f", ("x", red))] * 2).status_code == 200
        assert client.post("/v1/predict", files=[("f", ("x", red))] * 3).status_code == 413
        assert client.post("/v1/predict", files=[("f", ("x", red))] * 9).status_code == 413
        fields = client.post("/v1/predict", files=[("f", ("x", red))], data={"a": "1", "b": "2", "c": "3"})
        assert (fields.status_code, fields.json()) == (413, {"error": "A request may have at most 2 pictures."})
        torn = client.post("/v1/predict", content=b"no form", headers={"Content-Type": "multipart/form-data"})
        assert torn.status_code == 400 and torn.json()["error"]


def test_a_decoder_that_takes_too_long_or_dies_is_replaced(classifier, red):
    with running(classifier, limits=Limits(decode_seconds=0.0)) as client:
        answer = client.post("/v1/predict", content=red, headers=JPEG)
        assert answer.status_code == 422
        assert "seconds to decode" in answer.json()["predictions"][0]["error"]
        assert "fieldguide_decoders_replaced 1.0" in client.get("/metrics").text


@pytest.mark.skipif(os.name != "posix", reason="no process can be stopped there")
def test_a_decoder_that_dies_at_its_picture_is_replaced(classifier, red):
    with running(classifier) as client:
        (process,) = client.app._app.state.service.decoders._all
        process.send_signal(signal.SIGSTOP)  # the picture finds it alive
        threading.Timer(0.5, process.kill).start()
        answer = client.post("/v1/predict", content=red, headers=JPEG)
        assert (answer.status_code, answer.json()["predictions"][0]["error"]) == (422, "the decoder could not cope with it")
        assert client.post("/v1/predict", content=red, headers=JPEG).status_code == 200  # waits for the new one
        assert "fieldguide_decoders_replaced 1.0" in client.get("/metrics").text


def test_a_decoder_that_dies_while_it_waits_is_replaced_before_the_next_picture(classifier, red):
    with running(classifier, num_workers=2) as client:
        decoders = client.app._app.state.service.decoders
        before = set(decoders._all)
        for process in before:
            process.kill()
            client.portal.call(process.wait)
        assert client.post("/v1/predict", content=red, headers=JPEG).status_code == 200
        assert not before & decoders._all and decoders.num_alive >= 1
        deadline = time.monotonic() + 30
        while decoders.num_alive < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert (decoders.num_alive, decoders.num_replaced) == (2, 2)


def test_a_picture_that_asks_for_too_much_memory_harms_no_other(classifier, red):
    with running(classifier, limits=Limits(decode_memory_bytes=30_000_000)) as client:
        answer = client.post("/v1/predict", content=png_that_declares(6000, 6000), headers=JPEG)
        assert answer.status_code == 422
        assert answer.json()["predictions"][0]["error"]
        assert client.post("/v1/predict", content=red, headers=JPEG).status_code == 200


def test_where_no_decoder_gets_free_the_answer_is_try_again(classifier, red):
    with running(classifier, limits=Limits(wait_seconds=0.2)) as client:
        decoders = client.app._app.state.service.decoders
        process = client.portal.call(decoders._free.get)  # as if it were at work
        answer = client.post("/v1/predict", content=red, headers=JPEG)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        decoders._free.put_nowait(process)


def test_pictures_of_many_clients_share_batches(classifier, picture):
    with running(classifier) as client:
        batcher = client.app._app.state.service.batcher
        pictures = [(hue, picture(hue, seed)) for seed in range(8) for hue in HUES]
        wrong: list[str] = []

        def ask(hue: str, content: bytes) -> None:
            answer = client.post("/v1/predict", content=content, headers=JPEG)
            if answer.status_code != 200 or answer.json()["predictions"][0]["nearest_class"] != hue:
                wrong.append(answer.text)

        threads = [threading.Thread(target=ask, args=pair) for pair in pictures]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        assert sum(size * count for size, count in batcher.batch_sizes.items()) == len(pictures)
        assert batcher.num_waiting == 0


def test_the_model_says_what_it_is(client, classifier):
    values = client.get("/v1/model").json()
    assert values["class_names"] == ["blue", "green", "red"]
    assert values["image_size"] == [224, 224]
    assert values["model"] == classifier.bundle.model_hash
    assert values["collects"] is False
    assert values["max_body_bytes"] == Limits.max_body_bytes


def test_health_readiness_and_metrics(client, red):
    assert client.get("/healthz").text == "ok\n"
    assert client.get("/readyz").text == "ready\n"
    client.post("/v1/predict", content=red, headers=JPEG)
    text = client.get("/metrics").text
    assert 'fieldguide_pictures_total{outcome="red"}' in text
    assert 'fieldguide_requests_total{path="/v1/predict",status="200"}' in text
    assert "fieldguide_decoders_alive 1.0" in text
    client.get("/no/such/page")
    assert "/no/such/page" not in client.get("/metrics").text


def test_the_description_has_examples_and_nothing_comes_from_elsewhere(client):
    description = client.get("/openapi.json").json()
    assert set(description["paths"]) == {"/v1/predict", "/v1/correct", "/v1/model"}
    answers = description["paths"]["/v1/predict"]["post"]["responses"]
    assert answers["200"]["content"]["application/json"]["example"]["predictions"][0]["class_name"] == "cat"
    assert {"401", "408", "413", "415", "422", "503"} <= set(answers)
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404


def test_no_metadata_of_a_picture_comes_back(client):
    image = noisy_picture(HUES["red"], 5)
    exif = Image.Exif()
    exif[0x010E] = "a secret description"
    answer = client.post("/v1/predict", content=as_bytes(image, "JPEG", exif=exif), headers=JPEG)
    assert answer.status_code == 200
    assert "secret" not in answer.text + str(answer.headers)


def test_orientation_is_applied_as_everywhere(client, classifier):
    image = noisy_picture(HUES["blue"], 6, (30, 90))
    exif = Image.Exif()
    exif[0x0112] = 6
    content = as_bytes(image, "JPEG", exif=exif)
    answer = client.post("/v1/predict", content=content, headers=JPEG).json()["predictions"][0]
    assert answer["probabilities"] == pytest.approx(dict(classifier.predict(content).probabilities), abs=1e-6)


def test_every_format_of_the_list_is_read_and_no_other(client):
    image = noisy_picture(HUES["green"], 3)
    for name in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "TGA", "AVIF"):
        assert client.post("/v1/predict", content=as_bytes(image, name), headers=JPEG).status_code == 200, name
    for name in ("ICO", "EPS", "PDF", "SGI", "PCX", "DDS"):
        buffer = io.BytesIO()
        image.save(buffer, name)
        assert client.post("/v1/predict", content=buffer.getvalue(), headers=JPEG).status_code == 415, name


def test_a_heatmap_comes_where_it_is_asked_for(client, classifier, red):
    plain = client.post("/v1/predict", content=red, headers=JPEG).json()["predictions"][0]
    (asked,) = client.post("/v1/predict?heatmap=true", content=red, headers=JPEG).json()["predictions"]
    heatmap = asked.pop("heatmap")
    assert asked["probabilities"] == pytest.approx(plain["probabilities"], abs=1e-4)
    assert heatmap["class_name"] == "red"
    evidence = classifier.evidence(decoding.load(red, classifier.image_size)[None])[1]
    assert np.array(heatmap["evidence"]) == pytest.approx(evidence[0, 2], abs=1e-4)
    assert heatmap["place"] and 0 < heatmap["share"] <= 1
