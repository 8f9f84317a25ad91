"""The page, driven by clicks in headless Chromium, on a server of its own."""

from __future__ import annotations

import csv
import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

import fieldguide
from fieldguide.page import FILES, page_files
from fieldguide.serving.app import create_app
from fieldguide.serving.server import _config
from tests.browser import browser, complaints, needs_browser
from tests.conftest import HUES, noisy_picture

needs_time = 60


@contextmanager
def on_a_port(app: Any) -> Iterator[str]:
    config = _config(app)
    config.port = 0
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(30)


def wait_for(what: Callable[[], Any]) -> Any:
    end = time.monotonic() + needs_time
    while not (found := what()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def decided(run_folder: Path) -> fieldguide.Classifier:
    """One that names a class for every picture: which of these noisy ones are strangers is not the matter here."""
    return fieldguide.load(run_folder, reject=0)


class Page:
    """What a user sees, and does."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def of(self, name: str) -> Any:
        return self.driver.find_element("id", name)

    def answers(self) -> list[str]:
        texts = "return [...document.querySelectorAll('#list button')].map(button => button.innerText)"
        return list(self.driver.execute_script(texts))

    def give(self, *paths: Path) -> None:
        before = len(self.answers())
        self.of("files").send_keys("\n".join(map(str, paths)))
        wait_for(lambda: len(self.answers()) == before + len(paths) and not self.of("status").text)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for seed, hue in enumerate(HUES):
        noisy_picture(HUES[hue], 3000 + seed).save(folder / f"{hue}.png")
    (folder / "=1+1.jpg").write_bytes(b"this is no picture")
    return folder


def test_the_page_is_whole_and_loads_nothing_from_elsewhere(client):
    for name in FILES:
        answer = client.get(f"/{name}")
        assert answer.status_code == 200
        assert answer.content == page_files(predictor="predictor-http.js")[name]
        assert "://" not in answer.text.replace("https://owasp.org", "")
        assert "style=" not in answer.text and "<style" not in answer.text  # the policy forbids it
    assert client.get("/").text == client.get("/index.html").text
    assert client.get("/").headers["content-type"].startswith("text/html")


@needs_browser
def test_pictures_are_answered_explained_corrected_and_listed(decided, pictures, tmp_path):
    app = create_app(decided, num_workers=1, collect=tmp_path / "kept")
    with on_a_port(app) as address, browser(downloads=tmp_path) as driver:
        driver.get(address)
        page = Page(driver)
        wait_for(lambda: "blue, green, red" in page.of("about").text)
        page.give(pictures / "red.png", pictures / "green.png", pictures / "blue.png")
        assert [text.split("\n")[0] for text in page.answers()] == ["blue", "green", "red"]
        expected = decided.predict(pictures / "blue.png")
        assert page.of("verdict").text == "blue"
        assert f"{100 * expected.probability:.1f} %" in page.of("detail").text
        bars = [row.text.split("\n") for row in page.of("bars").find_elements("tag name", "li")]
        assert bars[0] == ["blue", f"{100 * expected.probability:.1f} %"] and len(bars) == 3

        assert not page.of("heat").is_displayed()
        page.of("show-heat").click()
        assert page.of("heat").is_displayed() and "speaks for blue" in page.of("place").text

        driver.find_elements("css selector", "#list button")[2].click()
        assert page.of("verdict").text == "red"
        page.of("right-class").send_keys("green")
        page.of("correction").find_element("tag name", "button").click()
        wait_for(lambda: "Kept" in page.of("kept").text)
        (kept,) = (tmp_path / "kept").rglob("*.png")
        assert kept.parent.name == "green" and kept.read_bytes() == (pictures / "red.png").read_bytes()

        page.give(pictures / "=1+1.jpg")
        assert page.of("verdict").text == "Cannot be read"
        assert "not a picture" in page.of("detail").text
        page.of("download").click()
        file = wait_for(lambda: next(tmp_path.glob("*.csv"), None))
        rows = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8-sig"))))
        assert [row["path"] for row in rows] == ["red.png", "green.png", "blue.png", "'=1+1.jpg"]
        assert rows[2]["class_name"] == "blue" and float(rows[2]["probability: blue"]) == pytest.approx(
            expected.probabilities["blue"], abs=1e-3
        )
        page.of("clear").click()
        assert not page.of("history").is_displayed() and not page.of("answer").is_displayed()
        # The answer to what is no picture has the status 415, which Chromium writes down; nothing else may be there.
        assert [line for line in complaints(driver) if "415" not in line] == []


@needs_browser
def test_the_camera_the_keyboard_and_a_narrow_screen(decided):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    with on_a_port(create_app(decided, num_workers=1)) as address, browser(390, 844) as driver:
        driver.get(address)
        page = Page(driver)
        wait_for(lambda: page.of("camera").is_enabled())
        for name in ("", "files", "camera"):  # the skip link, then the two ways in
            ActionChains(driver).send_keys(Keys.TAB).perform()
            assert not name or driver.switch_to.active_element.get_attribute("id") == name
        ActionChains(driver).send_keys(Keys.ENTER).perform()
        wait_for(lambda: driver.execute_script("return document.getElementById('video').videoWidth"))
        page.of("shoot").click()
        wait_for(lambda: page.answers())
        assert page.of("verdict").text and "camera-" in page.of("name").text
        assert not driver.execute_script("return document.getElementById('camera-dialog').open")
        assert not page.of("correction").is_displayed()  # this server keeps nothing
        assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        unnamed = (
            "return [...document.querySelectorAll('button, select, input')].filter(e => !e.labels?.length && !e.innerText)"
        )
        visible = [element for element in driver.execute_script(unnamed) if element.is_displayed()]
        assert visible == []
        assert complaints(driver) == []


@needs_browser
def test_a_token_is_asked_for_and_remembered(decided, pictures):
    with on_a_port(create_app(decided, num_workers=1, token="open sesame")) as address, browser() as driver:
        driver.get(address)
        page = Page(driver)
        for given in ("wrong", "open sesame"):
            wait_for(lambda: page.of("token").is_displayed())
            refused = "That token was refused." if given == "open sesame" else ""
            wait_for(lambda refused=refused: page.of("token-problem").text == refused)
            assert page.of("token-problem").get_attribute("role") == "alert"
            assert page.of("token").get_attribute("value") == ""
            page.of("token").send_keys(given)
            page.of("token-form").find_element("tag name", "button").click()
        wait_for(lambda: page.of("files").is_enabled())
        page.give(pictures / "green.png")
        assert page.of("verdict").text == "green"
        driver.refresh()
        wait_for(lambda: page.of("files").is_enabled())


@needs_browser
def test_a_server_that_is_gone_gives_no_answer_and_blames_no_picture(decided, pictures):
    with browser() as driver:
        with on_a_port(create_app(decided, num_workers=1)) as address:
            driver.get(address)
            page = Page(driver)
            wait_for(lambda: page.of("files").is_enabled())
        page.give(pictures / "green.png")
        assert page.of("verdict").text == "No answer"
        assert page.of("detail").text == "The server cannot be reached."


@needs_browser
def test_pictures_can_be_dropped_and_pasted(decided, pictures):
    hand_over = """
        const [kind, bytes] = arguments, data = new DataTransfer();
        data.items.add(new File([Uint8Array.from(atob(bytes), c => c.charCodeAt(0))], 'given.png', {type: 'image/png'}));
        const event = kind === 'drop' ? new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true})
          : new ClipboardEvent(kind, {clipboardData: data, bubbles: true});
        document.body.dispatchEvent(event);
    """
    from base64 import b64encode

    with on_a_port(create_app(decided, num_workers=1)) as address, browser() as driver:
        driver.get(address)
        page = Page(driver)
        wait_for(lambda: page.of("files").is_enabled())
        for number, (kind, hue) in enumerate((("drop", "red"), ("paste", "blue")), start=1):
            driver.execute_script(hand_over, kind, b64encode((pictures / f"{hue}.png").read_bytes()).decode())
            wait_for(lambda number=number: len(page.answers()) == number)
            wait_for(lambda hue=hue: page.of("verdict").text == hue)
