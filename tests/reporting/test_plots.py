"""The figures show the numbers, name their axes, and survive any class name."""

import io
import threading

import matplotlib
import numpy as np
import pytest
from PIL import Image

from fieldguide.errors import DatasetError
from fieldguide.reporting import plots
from fieldguide.reporting.rendering import to_png, to_svg

HOSTILE = ("$\\frac{$", "<script>alert(1)</script>", "猫 & 狗", "a" * 300)


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_confusion_matrix_names_its_axes_and_writes_counts_and_shares(make_evaluation):
    evaluation = make_evaluation(2, num_images=4)
    evaluation.probabilities[:] = [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7]]  # labels 0, 1, 0, 1
    (axes,) = plots.confusion_matrix(evaluation).axes
    assert axes.get_ylabel() == "true class"
    assert axes.get_xlabel() == "predicted class"
    assert texts(axes) == ["1\n50.0 %", "1\n50.0 %", "0", "2\n100.0 %"]
    (axes,) = plots.confusion_matrix(evaluation, normalize=True).axes
    assert texts(axes) == ["50.0 %", "50.0 %", "0", "100.0 %"]


def test_confusion_matrix_of_200_classes_thins_its_labels(make_evaluation):
    (axes,) = plots.confusion_matrix(make_evaluation(200, num_images=400)).axes
    assert not axes.texts
    assert 20 <= len(axes.get_xticklabels()) <= 40


def test_a_class_without_pictures_is_drawn_without_warnings(make_evaluation):
    evaluation = make_evaluation(4, num_images=3)
    to_png(plots.confusion_matrix(evaluation))
    to_png(plots.per_class(evaluation))


@pytest.mark.parametrize("draw", [plots.confusion_matrix, plots.per_class])
def test_hostile_class_names_are_drawn_as_they_are(draw, make_evaluation):
    figure = draw(make_evaluation(4, class_names=HOSTILE))
    assert to_png(figure).startswith(b"\x89PNG")
    svg = to_svg(figure, name="x", title='"<b>', text="<script>")
    assert "<script" not in svg
    assert "&lt;script&gt;" in svg
    assert "$\\frac{$" in svg


def test_curves_mark_the_epoch_with_the_highest_validation_accuracy(make_run, epochs):
    run = make_run(history=epochs)
    assert plots.best_epoch(run) == 2
    figure = plots.curves(run)
    loss, accuracy = figure.axes
    assert list(loss.lines[0].get_ydata()) == [row["loss"] for row in epochs]
    assert list(accuracy.lines[1].get_ydata()) == [row["val_accuracy"] for row in epochs]
    assert list(accuracy.lines[2].get_xdata()) == [3, 3]
    assert accuracy.lines[2].get_label() == "best: epoch 3"  # of `finetune` the frozen network may have been kept instead
    without = [{name: value for name, value in row.items() if not name.startswith("val_")} for row in epochs]
    assert plots.curves(make_run(history=without)).axes[1].lines[1].get_label() == "kept: epoch 4"


def test_regularisation_path_has_a_logarithmic_axis_and_marks_the_chosen_strength(make_run):
    accuracy, _ = plots.regularisation_path(make_run()).axes
    assert accuracy.get_xscale() == "log"
    assert list(accuracy.lines[0].get_xdata()) == [0.01, 0.1, 1.0]
    assert list(accuracy.lines[2].get_xdata()) == [0.1, 0.1]


def test_learning_curve_shows_the_band_of_the_interval(make_run):
    (axes,) = plots.learning_curve(make_run()).axes
    assert axes.get_xscale() == "log"
    band = axes.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == pytest.approx((0.78, 0.92))


def test_per_class_shows_the_lowest_of_many_classes(make_evaluation):
    (axes,) = plots.per_class(make_evaluation(60, num_images=600)).axes
    assert len(axes.get_yticklabels()) == 30
    assert axes.get_legend().get_title().get_text() == "the 30 lowest of 60 classes"


def test_example_predictions_shows_errors_alone_where_asked(make_evaluation, thumbnail):
    evaluation = make_evaluation(2)
    pictures = dict.fromkeys(evaluation.paths, thumbnail)
    figure = plots.example_predictions(evaluation, pictures, correct=False, count=3)
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.images]
    assert len(titles) == 3
    assert all("true: " in title for title in titles)
    right = plots.example_predictions(evaluation, pictures, correct=True, count=5)
    assert all(axes.get_title(loc="left").endswith("right") for axes in right.axes if axes.images)
    to_png(plots.example_predictions(evaluation, pictures))


def test_figures_that_cannot_be_drawn_say_what_can(make_run, make_evaluation, epochs):
    with pytest.raises(DatasetError, match="no epochs"):
        plots.curves(make_run())
    with pytest.raises(DatasetError, match=r"plots\.curves"):
        plots.regularisation_path(make_run(history=epochs))
    with pytest.raises(DatasetError, match="no learning curve"):
        plots.learning_curve(make_run(learning_curve=()))
    with pytest.raises(DatasetError, match="no picture to show"):
        plots.example_predictions(make_evaluation(2), {})


def test_a_run_of_one_epoch_is_drawn(make_run, epochs):
    to_png(plots.curves(make_run(history=epochs[:1])))


def test_drawing_leaves_the_settings_of_matplotlib_alone(make_run):
    before = dict(matplotlib.rcParams)
    threads = [threading.Thread(target=lambda: to_png(plots.learning_curve(make_run()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dict(matplotlib.rcParams) == before


def test_png_is_a_picture_and_the_same_every_time(make_evaluation):
    first, second = (to_png(plots.confusion_matrix(make_evaluation(3))) for _ in range(2))
    assert first == second
    assert np.asarray(Image.open(io.BytesIO(first)).convert("RGB")).std() > 5


def test_svg_takes_its_colours_from_the_page_and_names_itself(make_run):
    svg = to_svg(plots.learning_curve(make_run()), name="curve", title="Title", text="What it shows")
    assert 'role="img" aria-labelledby="curve-title curve-description"' in svg
    assert "currentColor" in svg
    assert "var(--blue)" in svg
    assert plots.INK not in svg
    assert "font-family" not in svg
    assert "http" not in svg


def test_a_notebook_shows_a_figure_without_pyplot(make_evaluation):
    figure = plots.confusion_matrix(make_evaluation())
    png, size = figure._repr_png_()
    assert png.startswith(b"\x89PNG")
    width, height = figure.get_size_inches()
    assert size == {"width": round(96 * width), "height": round(96 * height)}
