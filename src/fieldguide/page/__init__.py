"""The page: plain HTML, CSS and JavaScript, the same files for the server and for `export --format web`.

`page.js` knows a predictor only by `predictor.js`, which is one of two: `predictor-http.js` asks the server, `predictor-web.js`
computes in the browser, with `worker.js`, `resize.js` and the files of onnxruntime-web that `make web-assets` brings.
"""

from __future__ import annotations

import hashlib
from importlib import resources

from fieldguide.errors import MissingExtraError

FILES = ("index.html", "page.css", "page.js", "table.js", "camera.js", "predictor.js")
WEB_FILES = ("worker.js", "resize.js")
MEDIA_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}

# Of onnxruntime-web 1.30.0, which the Makefile fetches; SHA-256.
RUNTIME_FILES = {
    "ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}


def read(name: str) -> bytes:
    """One file of this folder."""
    return resources.files(__name__).joinpath(name).read_bytes()


def page_files(*, predictor: str) -> dict[str, bytes]:
    """The files of the page by name.

    Args:
        predictor: which file is its `predictor.js`: "predictor-http.js" or "predictor-web.js".
    """
    return {name: read(predictor if name == "predictor.js" else name) for name in FILES}


def runtime_files() -> dict[str, bytes]:
    """The files of onnxruntime-web by name.

    Raises:
        MissingExtraError: if this installation lacks them, or has others.
    """
    found = {}
    for name, digest in RUNTIME_FILES.items():
        file = resources.files(__name__).joinpath("assets", name)
        content = file.read_bytes() if file.is_file() else b""
        if hashlib.sha256(content).hexdigest() != digest:
            state = "is another one than this version was made with" if content else "is not there"
            raise MissingExtraError(
                f"The web export needs onnxruntime-web, whose file {name} {state}.\n"
                "hint: packages from an index hold it; in a copy of the repository run `make web-assets`, which needs npm."
            )
        found[name] = content
    return found
