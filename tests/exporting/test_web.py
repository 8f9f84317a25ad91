"""The page that computes in the browser answers as the engine does."""

from __future__ import annotations

import csv
import functools
import http.server
import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fieldguide
from fieldguide import page
from fieldguide.classifier import Classifier
from fieldguide.data import decoding
from fieldguide.errors import MissingExtraError
from fieldguide.exporting.export import Export, write_export
from fieldguide.exporting.metadata import metadata_of
from fieldguide.exporting.onnx_file import FILES, build_model, load
from fieldguide.exporting.parity import Pictures
from fieldguide.exporting.web import LICENSE
from tests.browser import browser, complaints, needs_browser
from tests.conftest import HUES, noisy_picture

needs_assets = pytest.mark.skipif(
    not (Path(page.__file__).parent / "assets").is_dir(), reason="needs the files of onnxruntime-web: make web-assets"
)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """The little server of Python's own, as the docs name it."""

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@contextmanager
def static_host(folder: Path) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def wait_for(what: Any) -> None:
    end = time.monotonic() + 120
    while not what():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)


def answers_of_the_page(folder: Path, pictures: list[Path], downloads: Path) -> list[dict[str, str]]:
    """Gives the pictures to the page and reads the table that it offers for download."""
    count = "return document.querySelectorAll('#list button').length"
    with static_host(folder) as address, browser(downloads=downloads) as driver:
        driver.get(address)
        wait_for(lambda: driver.find_element("id", "files").is_enabled() or driver.find_element("id", "problem").text)
        assert not driver.find_element("id", "problem").text
        driver.find_element("id", "files").send_keys("\n".join(map(str, pictures)))
        wait_for(lambda: driver.execute_script(count) == len(pictures))
        driver.find_element("id", "download").click()
        wait_for(lambda: any(downloads.glob("*.csv")))
        wait_for(lambda: driver.execute_script("return navigator.serviceWorker.ready.then(() => true)"))
        assert complaints(driver) == []
    (table,) = downloads.glob("*.csv")
    return list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8-sig"))))


@pytest.fixture
def exported(tiny_classifier: Classifier, test_pictures: Pictures, tmp_path: Path) -> Export:
    return write_export(tiny_classifier, tmp_path / "web", "web", pictures=test_pictures)


@needs_assets
@needs_browser
def test_the_page_answers_as_the_engine_does(exported, tiny_classifier, test_pictures, tmp_path):
    odd = tmp_path / "odd"
    odd.mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6
    noisy_picture(HUES["red"], 1, (90, 60)).save(odd / "turned.jpg", exif=turned)
    noisy_picture(HUES["green"], 2, (400, 41)).save(odd / "tall.png")
    noisy_picture(HUES["blue"], 3, (20, 300)).save(odd / "wide.webp", lossless=True)
    noisy_picture(HUES["red"], 4, (9, 7)).save(odd / "small.bmp")
    clear = noisy_picture(HUES["green"], 5)
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    clear.save(odd / "clear.png")
    pictures = [*test_pictures.paths, *sorted(odd.iterdir())]
    rows = answers_of_the_page(Path(exported.directory), pictures, tmp_path)
    assert [row["path"] for row in rows] == [path.name for path in pictures]
    for path, row in zip(pictures, rows, strict=True):
        expected = tiny_classifier.predict(path)
        assert row["nearest_class"] == expected.nearest_class, path.name
        assert row["none_of_these"] == str(expected.none_of_these), path.name
        for name, probability in expected.probabilities.items():
            assert float(row[f"probability: {name}"]) == pytest.approx(probability, abs=0.02), path.name
        assert float(row["novelty"]) == pytest.approx(expected.novelty, abs=0.02), path.name


@needs_assets
@needs_browser
def test_the_resize_is_pillows_to_the_bit(exported):
    rng = np.random.default_rng(0)
    sizes = [((50, 60), (32, 40)), ((300, 41), (32, 40)), ((31, 400), (32, 40)), ((7, 9), (32, 40)), ((32, 40), (32, 40))]
    script = """
        const [rgba, width, height, newWidth, newHeight, done] = arguments;
        import('./resize.js').then(({resize}) => done([...resize(rgba, width, height, newWidth, newHeight)]));
    """
    with static_host(Path(exported.directory)) as address, browser() as driver:
        driver.get(address)
        for (height, width), (new_height, new_width) in sizes:
            pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
            rgba = np.dstack([pixels, np.full((height, width), 255, np.uint8)]).ravel().tolist()
            found = driver.execute_async_script(script, rgba, width, height, new_width, new_height)
            expected = decoding.shrink(pixels, (new_height, new_width))
            assert np.array_equal(np.array(found, np.uint8).reshape(expected.shape), expected), (height, width)


@needs_assets
def test_the_folder_is_whole_and_names_nothing_elsewhere(exported, tiny_classifier):
    folder = Path(exported.directory)
    index = (folder / "index.html").read_text(encoding="utf-8")
    assert "Content-Security-Policy" in index and "connect-src 'self'" in index
    assert "://" not in index + (folder / "worker.js").read_text(encoding="utf-8")
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    assert about["class_names"] == list(tiny_classifier.class_names)
    assert about["model_hash"] == tiny_classifier.bundle.model_hash
    first = (folder / "offline.js").read_text(encoding="utf-8").splitlines()[0]
    kept = json.loads(first[first.index("FILES = ") + 8 : -1])
    assert all((folder / name).exists() for name in kept)
    others = {"export.json", "offline.js", "index.html", "MODEL_CARD.md", LICENSE}
    used = {path.name for path in folder.iterdir()} - others
    assert used == set(kept) - {"./"}


def test_the_evidence_in_the_file_is_that_of_the_classifier(run_folder, tmp_path):
    classifier = fieldguide.load(run_folder, precision="f32")
    pixels = np.stack([decoding.shrink(np.asarray(noisy_picture(HUES[hue], 7)), classifier.image_size) for hue in HUES])
    model = build_model(classifier, "tensor", metadata_of(classifier), with_evidence=True)
    (tmp_path / FILES["tensor"]).write_bytes(model.SerializeToString())
    found = load(tmp_path, "tensor")(pixels)["evidence"]
    _, expected = classifier.evidence(pixels)
    assert np.allclose(found.transpose(0, 3, 1, 2), expected, atol=1e-4)


def test_without_its_files_the_error_names_the_command(monkeypatch, tmp_path):
    monkeypatch.setattr(page.resources, "files", lambda name: tmp_path)
    with pytest.raises(MissingExtraError, match=r"is not there(.|\n)*make web-assets"):
        page.runtime_files()
    (tmp_path / "assets").mkdir()
    for name in page.RUNTIME_FILES:
        (tmp_path / "assets" / name).write_bytes(b"something else")
    with pytest.raises(MissingExtraError, match="is another one"):
        page.runtime_files()
