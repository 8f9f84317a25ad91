"""Checks the built pages: every link leads somewhere, and no page loads anything from elsewhere.

    python docs/check_links.py build/docs

Links to other sites are asked for where the network reaches them. A site that says "not found" is an error; one that
cannot be reached is counted and said, and passes.
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

_LOADING = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}
_GONE = (404, 410)


class _Page(HTMLParser):
    """The anchors of a page, what it links to, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes one tag."""
        values = {name: value for name, value in attrs if value}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif _LOADING.get(tag) in values:
            self.loaded.append(values[_LOADING[tag]])


def check_folder(root: Path) -> tuple[list[str], dict[str, str]]:
    """Reads every page below `root`; returns what is wrong, and the links to other sites with a page that has each."""
    pages = {path: _Page(path.read_text(encoding="utf-8")) for path in sorted(root.rglob("*.html"))}
    problems: list[str] = [] if pages else [f"there is no page in {root}"]
    elsewhere: dict[str, str] = {}
    for path, page in pages.items():
        here = path.relative_to(root).as_posix()
        for url in page.loaded:
            if urlsplit(url).netloc:
                problems.append(f"{here} loads {url}: pages must work offline and tell nobody that they are read")
        for url in page.links + page.loaded:
            if urlsplit(url).netloc:
                elsewhere.setdefault(urldefrag(url).url, here)
                continue
            if urlsplit(url).scheme:  # mailto:, data:
                continue
            target, anchor = urldefrag(url)
            file = (path.parent / unquote(urlsplit(target).path)).resolve() if target else path.resolve()
            if not file.exists():
                problems.append(f"{here} links to {url}, which is not there")
            elif (
                anchor
                and file.suffix == ".html"
                and unquote(anchor) not in pages[root.resolve() / file.relative_to(root.resolve())].anchors
            ):
                problems.append(f"{here} links to {url}: the page has no such place")
    return problems, elsewhere


def ask(url: str) -> int | None:
    """The status that a site answers with; None if it cannot be reached."""
    request = urllib.request.Request(url, headers={"User-Agent": "Mozilla/5.0"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, ValueError):
        return None


def main(folder: str) -> int:
    """Checks the pages in `folder`; returns the exit status."""
    problems, elsewhere = check_folder(Path(folder).resolve())
    with ThreadPoolExecutor(8) as pool:
        answers = dict(zip(elsewhere, pool.map(ask, elsewhere), strict=True))
    problems += [f"{elsewhere[url]} links to {url}, which is gone" for url, status in answers.items() if status in _GONE]
    unreached = sum(status is None for status in answers.values())
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    print(f"links: {len(problems)} wrong; {len(answers) - unreached} of {len(answers)} links to other sites could be asked for")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
