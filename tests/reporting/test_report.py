"""The page: self-contained, escaped, well-formed, the same every time."""

import csv
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from fieldguide.records import Audit, Finding
from fieldguide.reporting import figures, wording
from fieldguide.reporting.report import shown_paths, write_report

VOID = {"meta", "img", "br", "hr", "input", "link"}


class Page(HTMLParser):
    """Checks the structure while reading: every end tag closes the tag that is open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.images: list[dict[str, str]] = []
        self.headings: list[int] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "img":
            self.images.append(attributes)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        self.links += [attributes[name] for name in ("href", "src", "xlink:href") if name in attributes]
        for name, value in attributes.items():
            assert not name.startswith("on")
            self.links += re.findall(r"url\(([^)]*)\)", value or "")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def write(tmp_path, make_run, audit, make_evaluation, thumbnail, monkeypatch):
    """Writes a report and reads the page; the files beside it, which take a second, only where asked."""

    def write(with_files=False, **changes) -> Page:
        if not with_files:
            monkeypatch.setattr(figures, "write_figures", lambda *_, **__: None)
        evaluations = {part: make_evaluation(2, part=part) for part in ("train", "val", "test")}
        arguments = {"run": make_run(), "audit": audit, "evaluations": evaluations} | changes
        suspects = arguments.get("suspects", ())
        paths = shown_paths(audit=arguments["audit"], evaluations=arguments["evaluations"], suspects=suspects)
        path = write_report(tmp_path, thumbnails=dict.fromkeys(paths, thumbnail), **arguments)
        assert path == tmp_path / "report.html"
        return Page(path.read_text(encoding="utf-8"))

    return write


def assert_sound(page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        assert link.startswith(("#", "data:image/")), link
        assert not link.startswith("#") or link[1:] in page.ids, link
    assert "script" not in page.tags
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in zip(page.headings, page.headings[1:], strict=False))
    assert all(image["alt"] for image in page.images)
    assert {"main", "nav", "header", "footer"} <= page.tags


@pytest.mark.parametrize("num_classes", [2, 13, 40])
@pytest.mark.parametrize("recipe", ["transfer", "classic"])
def test_page_is_well_formed_and_loads_nothing(write, make_run, make_evaluation, num_classes, recipe, tmp_path, epochs):
    run = make_run() if recipe == "transfer" else make_run(recipe="classic", history=epochs, learning_curve=())
    page = write(run=run, evaluations={"test": make_evaluation(num_classes, num_images=3 * num_classes)})
    assert_sound(page)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in text
    assert "http:" not in text
    assert "https:" not in text


def test_page_says_what_was_reached_in_plain_words(write, make_evaluation):
    test = make_evaluation(2, num_images=2000)
    test.probabilities[:] = [[0.9, 0.1], [0.1, 0.9]] * 1000  # labels are 0, 1, 0, 1, ...
    test.probabilities[:26] = [[0.1, 0.9], [0.9, 0.1]] * 13
    page = write(evaluations={"test": test})
    # The bounds are those of scipy.stats.binomtest(1974, 2000).proportion_ci(method="wilson").
    expected = "Of 2,000 test pictures 1,974 were classified correctly: 98.7\xa0% (95\xa0% interval 98.1–99.1\xa0%)."
    assert expected in page.text


def test_hostile_names_are_text_and_never_markup(write, make_evaluation, make_run):
    name = "\"><script>alert('x')</script><img src=x onerror=alert(1)> & {{ 7 * 7 }} 猫"
    evaluation = make_evaluation(2, class_names=(name, "ok"))
    audit = Audit((Finding(name, "warning", (name,), name),), 80, (name, "ok"), {name: 1, "ok": 2}, leaks=((name, name),))
    suspects = [{"path": name, "label": name, "suggested": "ok", "probability": 0.9}]
    run = make_run(directory=name, layout=name, notes=(name,), environment={"dataset": name, "command": name, name: name})
    page = write(run=run, evaluations={"test": evaluation}, audit=audit, suspects=suspects)
    assert_sound(page)
    assert page.text.count(name) > 10


def test_the_same_arguments_give_the_same_bytes(write, tmp_path):
    def written() -> dict[str, bytes]:
        write(with_files=True)
        return {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    assert written() == written()


def test_without_a_test_part_the_page_says_so_and_shows_validation(write, make_evaluation, tmp_path):
    evaluations = {"train": None, "val": make_evaluation(3, part="val"), "test": None}
    page = write(with_files=True, evaluations=evaluations)
    assert_sound(page)
    assert "There is no test score, because the folder gives no test part." in page.text
    assert "Of 80 validation pictures" in page.text
    assert (tmp_path / "figures" / "predictions-val.csv").exists()


def test_without_any_score_a_page_is_written_all_the_same(write, make_run):
    page = write(run=make_run(history=(), learning_curve=(), notes=(), settings={}, seconds={}), evaluations={})
    assert_sound(page)
    assert "No part was scored." in page.text


def test_scoring_a_test_part_again_is_a_caution(write, make_evaluation):
    assert "optimistic" not in write(evaluations={"test": make_evaluation(2, times_scored=1)}).text
    page = write(evaluations={"test": make_evaluation(2, times_scored=4)})
    assert "Scored 4 times on this machine: choices made after looking at it make this figure optimistic." in page.text


def test_the_text_of_the_curves_names_the_best_epoch_and_none_that_was_kept(make_run, epochs):
    text = wording.curves(make_run(history=epochs), epochs[2])
    assert text.startswith("Over 4 epochs validation accuracy went from 50.0\xa0% to 80.0\xa0% in epoch 3, its best.")
    assert "kept" not in text
    assert wording.curves(make_run(history=epochs[:1]), epochs[0]).startswith("Over 1 epoch validation accuracy")


@pytest.mark.parametrize("is_validated", [True, False])
def test_captions_speak_of_validation_only_where_there_is_some(write, make_run, epochs, is_validated):
    history = [{name: v for name, v in row.items() if is_validated or not name.startswith("val_")} for row in epochs]
    text = write(run=make_run(recipe="scratch", history=history, learning_curve=())).text
    assert ("Where that of validation turns up" in text) == is_validated
    assert ("A widening gap" in text) == is_validated
    assert ("Nothing was held out, so that learning by heart would not show." in text) == (not is_validated)


def test_one_picture_is_not_counted_as_pictures(make_evaluation):
    evaluation = make_evaluation(2, num_images=1)
    assert wording.pictures_on_page(evaluation, np.arange(1), 0).startswith("This page holds the one test picture.")
    assert wording.score(evaluation).startswith("Of 1 test picture ")
    many = make_evaluation(2, num_images=2)
    assert wording.pictures_on_page(many, np.arange(2), 0).startswith("This page holds all 2 test pictures.")


def test_leaked_copies_are_shown_with_the_score_without_them(write, make_evaluation):
    page = write(evaluations={"test": make_evaluation(2, leaked=(0,))})
    assert "1 of them is a copy of training pictures. Without it: " in page.text
    assert "79 pictures" in page.text
    assert "1 test picture has a copy or near-copy in the training part." in page.text


def test_findings_come_errors_first_with_their_files(write):
    text = write().text
    assert 0 < text.index("1 file is cut short") < text.index("1 picture has no colour")
    assert "train/kind 0/2.jpg" in text


def test_thumbnails_asked_for_are_those_shown(write, make_evaluation, audit, tmp_path):
    evaluation = make_evaluation(2, num_images=300)
    suspects = [{"path": f"train/{i}.jpg", "label": "a", "suggested": "b", "probability": 0.9} for i in range(20)]
    page = write(evaluations={"test": evaluation}, suspects=suspects)
    assert "no thumbnail" not in page.text
    paths = shown_paths(audit=audit, evaluations={"test": evaluation}, suspects=suspects)
    assert len(paths) == len(set(paths)) <= len(page.images) == 2 + 12 + 3 * 12


def test_a_picture_without_thumbnail_is_named(tmp_path, make_run, audit, make_evaluation):
    evaluations = {"test": make_evaluation(2)}
    path = write_report(tmp_path, run=make_run(), audit=audit, evaluations=evaluations, thumbnails={})
    assert "no thumbnail" in path.read_text(encoding="utf-8")


def test_page_holds_what_is_needed_to_repeat_the_run(write):
    text = write().text
    for needed in ("fieldguide train beetles", "abc123", "versions / numpy", "2.4.6", "2 min 5 s", "224, 224", "1000"):
        assert needed in text
    assert "fieldguide predict 'runs/two words' photo.jpg" in text
    assert "Strangers are not recognised." in text


def test_figures_lie_beside_the_page_with_their_numbers(write, tmp_path, make_evaluation, make_run, epochs):
    evaluation = make_evaluation(3, class_names=("=cmd()", "b", "c"))
    write(with_files=True, evaluations={"test": evaluation}, run=make_run(history=epochs))
    folder = tmp_path / "figures"
    names = {path.name for path in folder.iterdir()}
    assert names == {
        *("confusion_matrix.png", "confusion_matrix.csv", "per_class.png", "per_class.csv", "predictions-test.csv"),
        *("curves.png", "curves.csv", "learning_curve.png", "learning_curve.csv"),
        *("reliability.png", "reliability.csv", "coverage.png", "coverage.csv"),
    }
    rows = list(csv.DictReader((folder / "predictions-test.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 80
    assert rows[0]["label"] == "'=cmd()"
    assert [row["correct"] == "True" for row in rows] == evaluation.correct.tolist()
    cells = list(csv.DictReader((folder / "confusion_matrix.csv").read_text(encoding="utf-8").splitlines()))
    assert sum(int(cell["num_images"]) for cell in cells) == 80
    assert len((folder / "curves.csv").read_text(encoding="utf-8").splitlines()) == 1 + len(epochs)


def test_every_number_of_the_confusion_table_links_to_its_pictures(write, make_evaluation):
    evaluation = make_evaluation(3)
    page = write(evaluations={"test": evaluation})
    wrong = {(label, p) for label, p in zip(evaluation.labels, evaluation.predicted, strict=True) if label != p}
    assert {link for link in page.links if link.startswith("#errors-")} == {f"#errors-{t}-{p}" for t, p in wrong}


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.987, "98.7"),
        (1.0, "100"),
        (0.0, "0"),
        (0.99961, "99.96"),
        (0.999999, "99.99"),
        (0.0004, "0.04"),
        (1e-6, "< 0.01"),
    ],
)
def test_percentages_never_round_up_to_certainty(share, text):
    assert wording.percent(share) == f"{text}\xa0%"


def test_durations_are_said_in_words():
    assert [wording.duration(s) for s in (12.34, 125, 7260)] == ["12.3 s", "2 min 5 s", "2 h 1 min"]
