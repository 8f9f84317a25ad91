"""The figure of an explanation: every word is inside, and none lies on another."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from fieldguide.records import Explanation, Prediction, Resembling
from fieldguide.reporting.explanation_plots import explanation

SIZES = {"wide": (600, 60), "tall": (60, 600), "square": (200, 200)}  # width, height


def explained(class_name: str) -> Explanation:
    noise = np.random.default_rng(0)
    near = tuple(Resembling(f"{name}, whose name is long.png", class_name, 0.123) for name in (*SIZES, "wide", "missing"))
    return Explanation(
        prediction=Prediction(None, class_name, class_name, 0.61, {class_name: 0.61}),
        class_name=class_name,
        evidence=noise.normal(size=(7, 7)).astype(np.float32),
        place="spread out, most of it in the upper left",
        share=0.34,
        region=noise.random((7, 7)) > 0.75,
        region_share=0.31,
        nearest=near,
        usual_distance=0.2,
        picture=noise.integers(0, 255, (120, 160, 3), dtype=np.uint8),
    )


@pytest.mark.parametrize(
    "class_name", ["cat", "Rhododendron hirsutum", "Leucanthemum vulgare subspecies pallens, white", "$x$ $"]
)
def test_words_stay_inside_the_figure_and_off_each_other(class_name, tmp_path):
    for name, size in SIZES.items():
        Image.new("RGB", size, (90, 120, 40)).save(tmp_path / f"{name}, whose name is long.png")
    figure = explanation(explained(class_name), tmp_path)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    width, height = figure.bbox.size
    title = figure._suptitle.get_window_extent(renderer)
    assert title.x1 <= width and title.y1 <= height
    assert title.y0 > figure.axes[0].get_window_extent(renderer).y1
    words = [text.get_window_extent(renderer) for axes in figure.axes[2:] for text in axes.texts]
    assert len(words) == 5 * 3 + 1  # and "not found"
    for number, box in enumerate(words):
        assert 0 <= box.x0 and box.x1 <= width and box.y0 >= 0
        assert not any(box.overlaps(other) for other in words[number + 1 :])


def test_the_distance_has_a_line_of_its_own():
    found = explanation(explained("Leucanthemum vulgare"))
    assert [text.get_text() for text in found.axes[2].texts[1:]] == ["Leucanthemum…", "distance 0.12", "…se name is long.png"]
