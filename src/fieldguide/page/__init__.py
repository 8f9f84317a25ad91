"""The page: plain HTML, CSS and JavaScript, the same files for the server and for `export --format web`.

`page.js` knows a predictor only by `predictor.js`, which is one of two: `predictor-http.js` asks the server, `predictor-web.js`
computes in the browser.
"""

from __future__ import annotations

from importlib import resources

FILES = ("index.html", "page.css", "page.js", "table.js", "camera.js", "predictor.js")
MEDIA_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}


def read(name: str) -> bytes:
    """One file of this folder."""
    return resources.files(__name__).joinpath(name).read_bytes()


def page_files(*, predictor: str) -> dict[str, bytes]:
    """The files of the page by name.

    Args:
        predictor: which file is its `predictor.js`: "predictor-http.js" or "predictor-web.js".
    """
    return {name: read(predictor if name == "predictor.js" else name) for name in FILES}
