"""What strangers' bytes go into: each target takes bytes and raises only what fieldguide raises on purpose, or fails.

The property tests send mutations of `seeds`, the same ones each time; `benchmarks/reliability.py fuzz` sends new ones for
minutes, guided by coverage where atheris is installed.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fieldguide.auditing.review import read_review
from fieldguide.bundle import read_bundle
from fieldguide.classifier import Classifier
from fieldguide.data.decoding import MAX_DECODED_PIXELS, decode, shrink
from fieldguide.data.index import index_folder
from fieldguide.errors import DatasetError, DecodeError, FieldguideError
from fieldguide.records import Audit, ImageIndex, Run, Split
from fieldguide.storage import read_json, sha256_file
from tests.corpus import uploads

BUNDLE = Path(__file__).parent / "formats" / "1" / "bundle"
COVER = (32, 32)


def picture(content: bytes) -> None:
    """Any bytes are decoded to RGB of a bounded size, or refused with a reason."""
    try:
        decoded = decode(content, cover=COVER)
    except DecodeError as error:
        assert error.reason and str(error)
        return
    assert decoded.pixels.dtype == np.uint8 and decoded.pixels.ndim == 3 and decoded.pixels.shape[2] == 3
    assert 0 < decoded.pixels.shape[0] * decoded.pixels.shape[1] <= MAX_DECODED_PIXELS
    assert shrink(decoded.pixels, COVER).shape == (*COVER, 3)


def csv_list(content: bytes) -> None:
    """A CSV file is read as an index of files that are there, or refused."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("a.jpg", "b.jpg", "c d.jpg"):
            (Path(folder) / name).touch()
        path = Path(folder) / "list.csv"
        path.write_bytes(content)
        with contextlib.suppress(DatasetError):
            index = index_folder(path)
            assert len(index.class_names) >= 2 and index.images
            assert all((Path(folder) / image.path).is_file() for image in index.images)
        with contextlib.suppress(DatasetError):
            read_review(path, ("cat", "dog"))


def folder_names(content: bytes) -> None:
    """A folder whose files bear any names is indexed, every file accounted for, or refused."""
    with tempfile.TemporaryDirectory() as folder:
        made = 0
        for line in content.split(b"\n")[:20]:
            with contextlib.suppress(OSError, ValueError):
                path = Path(folder, *(part for part in _text(line).split("/") if part not in ("", ".", "..")))
                path.parent.mkdir(parents=True, exist_ok=True)
                made += not path.exists()
                path.touch()
        with contextlib.suppress(DatasetError):
            index = index_folder(folder)
            assert len(index.images) + len(index.skipped) <= made + len(list(Path(folder).rglob("*")))
            json.dumps(index.to_json(), ensure_ascii=False).encode("utf-8")
            assert ImageIndex.from_json(json.loads(json.dumps(index.to_json()))) == index


def manifest(content: bytes) -> None:
    """A manifest is read, and the bundle answers, or refused."""
    with _bundle_copy() as folder:
        (folder / "manifest.json").write_bytes(content)
        _answer(folder)


def bundle_file(content: bytes) -> None:
    """The first byte chooses a file of the bundle, the rest is its content; its hash is right."""
    names = sorted(json.loads((BUNDLE / "manifest.json").read_text(encoding="utf-8"))["hashes"])
    if not content:
        return
    name = names[content[0] % len(names)]
    with _bundle_copy() as folder:
        (folder / name).write_bytes(content[1:])
        values = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        values["hashes"][name] = sha256_file(folder / name)
        (folder / "manifest.json").write_text(json.dumps(values), encoding="utf-8")
        _answer(folder)


def zip_of_bundle(content: bytes) -> None:
    """A zip is a bundle, or refused; nothing is written beside the temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bundle.zip"
        path.write_bytes(content)
        _answer(path)
        assert [entry.name for entry in Path(folder).iterdir()] == ["bundle.zip"]


def record(content: bytes) -> None:
    """The records of a run, as `report` and `compare` read them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "record.json"
        path.write_bytes(content)
        for kind in (Run, Split, Audit, ImageIndex):
            with contextlib.suppress(FieldguideError, KeyError, TypeError, ValueError, AttributeError):
                kind.from_json(read_json(path))


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


@contextlib.contextmanager
def _bundle_copy() -> Any:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(shutil.copytree(BUNDLE, Path(folder) / "bundle"))


def _answer(source: Path) -> None:
    with contextlib.suppress(FieldguideError):
        classifier = Classifier(read_bundle(source))
        height, width = classifier.image_size
        if height * width <= 512 * 512:
            found = classifier.predict(np.zeros((height, width, 3), np.uint8))
            assert found.error is None and set(found.probabilities) == set(classifier.class_names)
        classifier.verify()


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (picture, csv_list, folder_names, manifest, bundle_file, zip_of_bundle, record)
}


@cache
def seeds(target: str) -> tuple[bytes, ...]:
    """Where mutation starts from."""
    if target == "picture":
        return tuple(case.content for case in uploads() if case.content is not None and len(case.content) < 20_000)
    if target == "csv_list":
        rows = "path,label,split,group\na.jpg,cat,train,1\nb.jpg,dog,train,2\nc d.jpg,dog,test,3\n"
        review = "path,label,finding,action,new_label\na.jpg,cat,dark,exclude,\nb.jpg,dog,,relabel,cat\n"
        return tuple(text.encode(code) for text in (rows, rows.replace(",", ";"), review) for code in ("utf-8", "utf-8-sig"))
    if target == "folder_names":
        return (
            b"cat/1.jpg\ndog/2.jpg\ndog/x/3.png",
            b"train/cat/1.jpg\ntrain/dog/2.jpg\ntest/cat/3.jpg\nreadme.txt",
            b"cat/\xe9.jpg\n\xff/1.jpg\ndog/.hidden.jpg\ndog/a\tb.png",
        )
    if target == "manifest":
        return ((BUNDLE / "manifest.json").read_bytes(),)
    if target == "bundle_file":
        names = sorted(json.loads((BUNDLE / "manifest.json").read_text(encoding="utf-8"))["hashes"])
        return tuple(bytes([position]) + (BUNDLE / name).read_bytes() for position, name in enumerate(names))
    if target == "zip_of_bundle":
        return tuple(_zipped(method) for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    run = BUNDLE.parent
    return tuple((run / name).read_bytes() for name in ("run.json", "split.json", "audit.json", "index.json"))


def _zipped(method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for path in sorted(BUNDLE.iterdir()):
            archive.writestr(f"run/bundle/{path.name}", path.read_bytes())
    return buffer.getvalue()
