"""Draws the pictures of `docs/for-students.md` and writes the measured tables into it.

    python benchmarks/students.py           trains two networks on the digits (a minute), draws, writes the tables
    python benchmarks/students.py tables    the tables and the chart of results/ablation.csv alone; no TensorFlow

The tables stand between `<!-- NAME: ... -->` and `<!-- end of NAME -->`. A test fails where the page and the CSV differ.
"""

from __future__ import annotations

import io
import json
import math
import re
import statistics
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measure import read_rows
from PIL import Image

from fieldguide import plots
from fieldguide.reporting.network_plots import WIDTH, diverging
from fieldguide.reporting.rendering import to_png
from fieldguide.reporting.style import BLUE, INK, ORANGE, TEXT_POINTS, new_figure, style_axes
from fieldguide.storage import write_bytes, write_text

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = DOCS / "for-students.md"
PICTURES = DOCS / "pictures" / "students"
WHOLE = "whole network"
TITLES = {"digits": "the embedded digits", "fashion": "Fashion-MNIST"}
EPOCHS = {"digits": 25, "fashion": 30}
CUT_SHORT = 8  # epochs of a first round on Fashion-MNIST
PARTS = ("train", "val", "test")

Rows = Sequence[Mapping[str, str]]


def chosen(rows: Rows, dataset: str, epochs: int) -> Rows:
    """The rows of one data set that were trained for so long."""
    return [row for row in rows if (row["dataset"], json.loads(row["settings"])["epochs"]) == (dataset, epochs)]


def measured(rows: Rows) -> dict[str, dict[str, list[float]]]:
    """Accuracies in percent by variant and part, one for each seed; the whole network first, then the lowest first.

    A variant counts once it has been run with every seed that the whole network was run with.
    """
    by_run = {(row["variant"], row["seed"]): row for row in rows}
    seeds = [seed for variant, seed in by_run if variant == WHOLE]
    found = {
        variant: {part: [100 * float(by_run[variant, seed][f"{part}_accuracy"]) for seed in seeds] for part in PARTS}
        for variant in dict.fromkeys(variant for variant, _ in by_run)
        if all((variant, seed) in by_run for seed in seeds)
    }
    return dict(sorted(found.items(), key=lambda item: (item[0] != WHOLE, statistics.mean(item[1]["val"]))))


def verdict(variant: Sequence[float], whole: Sequence[float]) -> str:
    """`worse` or `better` where every seed of the one lies beyond every seed of the other; else that nothing is clear."""
    if max(variant) < min(whole):
        return "worse"
    return "better" if min(variant) > max(whole) else "not clear"


def ablation_table(rows: Rows) -> str:
    """Markdown: a row for each variant, with mean ± standard deviation over the seeds, in percent."""
    found = measured(rows)
    whole = found[WHOLE]
    lines = ["| variant | verdict | validation | test | training |", "|---|---|---|---|---|"]
    for name, accuracies in found.items():
        # No-break spaces: on a phone the table is scrolled, and no cell of it broken.
        values = [accuracies[part] for part in ("val", "test", "train")]
        cells = [f"{statistics.mean(v):.1f}\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{statistics.stdev(v):.1f}" for v in values]
        difference = statistics.mean(accuracies["val"]) - statistics.mean(whole["val"])
        compared = f"{signed(difference)}, {verdict(accuracies['val'], whole['val'])}"
        lines.append(f"| {name} | {'' if name == WHOLE else compared} | {' | '.join(cells)} |")
    epochs, *sizes = (int(rows[0][name]) for name in ("epochs", "num_train", "num_val", "num_test"))
    lines += [
        "",
        f"Accuracy in %, mean ± standard deviation over {len(whole['val'])} seeds, after {epochs} epochs; "
        "{:,} training, {:,} validation and {:,} test pictures.".format(*sizes),
    ]
    return "\n".join(lines)


def settings_table(rows: Rows) -> str:
    """Markdown: the settings of the whole network, and in which of them the data sets differ."""
    by_dataset = {
        dataset: json.loads(next(row["settings"] for row in chosen(rows, dataset, EPOCHS[dataset]) if row["variant"] == WHOLE))
        for dataset in TITLES
    }
    lines = ["| setting | " + " | ".join(TITLES.values()) + " |", "|---|" + "---|" * len(TITLES)]
    for name in by_dataset["digits"]:
        values = [json.dumps(settings[name]).strip('[]"') for settings in by_dataset.values()]
        lines.append(f"| `{name}` | {' | '.join(values)} |")
    return "\n".join(lines)


def shapes(rows: Rows) -> str:
    """A code block: what each layer makes of the picture's shape, and how many weights it has.

    Raises:
        ValueError: if they do not add up to the number of weights of the network that was measured.
    """
    row = next(r for r in rows if r["variant"] == WHOLE)
    settings = json.loads(row["settings"])
    (height, width), channels = settings["image_size"], 3
    lines = [("picture", f"{height} × {width} × {channels}", 0)]
    for number, filters in enumerate(settings["filters"], start=1):
        lines.append((f"convolution {number}", f"{height} × {width} × {filters}", 9 * channels * filters))
        lines.append(("batch norm, ReLU", "the same", 4 * filters))
        height, width, channels = height // 2, width // 2, filters
        lines.append(("max pooling", f"{height} × {width} × {filters}", 0))
    flat, units, classes = height * width * channels, settings["units"], 10
    lines.append(("flatten", f"{flat}", 0))
    lines.append(("dense", f"{units}", flat * units))
    lines.append(("batch norm, ReLU", "the same", 4 * units))
    lines.append(("dropout", "the same", 0))
    lines.append(("dense", f"{classes}", units * classes + classes))
    total = sum(weights for _, _, weights in lines)
    if total != int(row["num_weights"]):
        raise ValueError(f"The layers have {total} weights; the network that was measured has {row['num_weights']}.")
    lines.append(("together", "", total))
    return "\n".join(["```text", *(f"{a:17}{b:>14}{f'{c:,}' if c else '':>9}".rstrip() for a, b, c in lines), "```"])


def sections(rows: Rows) -> dict[str, str]:
    """What stands in the page between the comments of each name."""
    return {
        "shapes": shapes(rows),
        "settings": settings_table(rows),
        **{f"ablation of {dataset}": ablation_table(chosen(rows, dataset, EPOCHS[dataset])) for dataset in TITLES},
        "ablation cut short": ablation_table(chosen(rows, "fashion", CUT_SHORT)),
    }


def section(page: str, name: str) -> tuple[int, int]:
    """Where the text between the comments of that name begins and ends."""
    match = re.search(rf"<!-- {name}: [^>]*-->\n\n(.*?)\n\n<!-- end of {name} -->", page, re.DOTALL)
    if match is None:
        raise ValueError(f"The page has no section {name!r}.")
    return match.span(1)


def signed(value: float) -> str:
    """One decimal, always with its sign."""
    return f"{value:+.1f}".replace("-", "\N{MINUS SIGN}")


def draw_ablation(rows: Rows) -> Any:
    """A panel for each data set: test accuracy of each variant, a dot for each seed and a line for the mean."""
    found = {dataset: measured(chosen(rows, dataset, EPOCHS[dataset])) for dataset in TITLES}
    heights = [0.36 * len(variants) for variants in found.values()]
    label, gap, top, bottom = 1.95, 0.75, 0.35, 0.45
    whole_height = top + sum(heights) + gap * (len(heights) - 1) + bottom
    figure = new_figure(WIDTH, whole_height)
    above = top
    for (dataset, variants), height in zip(found.items(), heights, strict=True):
        box = (label / WIDTH, 1 - (above + height) / whole_height, 1 - (label + 0.12) / WIDTH, height / whole_height)
        axes = figure.add_axes(box)
        above += height + gap
        for place, (name, accuracies) in enumerate(variants.items()):
            test = accuracies["test"]
            colour = INK if name == WHOLE else BLUE
            axes.plot(test, [place] * len(test), "o", color=colour, alpha=0.55, markersize=4.5, markeredgewidth=0)
            axes.plot([statistics.mean(test)] * 2, [place - 0.3, place + 0.3], color=colour, linewidth=2)
        axes.axvline(statistics.mean(variants[WHOLE]["test"]), color=ORANGE, linewidth=1, linestyle=(0, (3, 2)))
        style_axes(axes, grid="x")
        axes.spines["left"].set_visible(False)
        names = ["\n".join(textwrap.wrap(name, 31)) for name in variants]
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(axis="y", labelsize=TEXT_POINTS - 0.5)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel("test accuracy, %", color=INK)
        axes.set_title(TITLES[dataset], loc="left", size=TEXT_POINTS + 1, color=INK, weight="bold")
    return figure


def draw_convolution(model: Any, picture: Any) -> Any:
    """One value of a feature map worked out: the patch, the filter, their products and the sum.

    The filter is the one whose weights cancel out best, so that it answers to edges; the place is where it answers most.
    """
    from fieldguide.models.layer_outputs import convolution_blocks, layer_outputs

    kernels = convolution_blocks(model)[0].kernel.sum(axis=2)  # the three channels of a grey picture are equal
    outputs = layer_outputs(model, picture[None], ["rescale", "block1_conv"])
    values, maps = outputs["rescale"][0, ..., 0], outputs["block1_conv"][0]
    inside = maps[1:-1, 1:-1]
    channel = int((np.abs(kernels.sum(axis=(0, 1))) / np.abs(kernels).sum(axis=(0, 1))).argmin())
    row, column = np.unravel_index(inside[..., channel].argmax(), inside.shape[:2])  # of the patch's top left corner
    patch, kernel = values[row : row + 3, column : column + 3], kernels[..., channel]
    total = float((patch * kernel).sum())
    if not math.isclose(total, inside[row, column, channel], abs_tol=1e-4):
        raise ValueError(f"The products add up to {total}; the network says {inside[row, column, channel]}.")
    figure = new_figure(WIDTH, 4.1)
    big, small = 2.1 / WIDTH, 1.28 / WIDTH
    ratio = WIDTH / 4.1

    def show(left: float, bottom: float, size: float, array: Any, title: str, *, cmap: Any, limit: float) -> Any:
        axes = figure.add_axes((left / WIDTH, bottom / 4.1, size, size * ratio))
        axes.imshow(array, cmap=cmap, vmin=-limit, vmax=limit, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(color=INK, alpha=0.35, linewidth=0.6)
        axes.set_title(title, loc="left", size=TEXT_POINTS, color=INK, pad=3)
        return axes

    def frame(axes: Any, top: int, left: int, size: int, colour: str) -> None:
        from matplotlib.patches import Rectangle

        axes.add_patch(Rectangle((left - 0.5, top - 0.5), size, size, fill=False, edgecolor=colour, linewidth=1.8))

    largest = float(np.abs(maps[..., channel]).max())
    axes = show(0.06, 1.72, big, values, "the picture: white 1, black −1", cmap="gray", limit=1)
    frame(axes, row, column, 3, ORANGE)
    axes = show(2.34, 1.72, big, maps[..., channel], "one feature map", cmap=diverging(), limit=largest)
    frame(axes, row + 1, column + 1, 1, INK)
    grids = [(0.06, patch, "patch", "gray", 1.0), (1.61, kernel, "× filter", diverging(), float(np.abs(kernel).max()))]
    products = patch * kernel
    title = f"products: sum {total:.2f}"
    grids.append((3.16, products, title, diverging(), float(np.abs(products).max())))
    for left, array, name, cmap, limit in grids:
        axes = show(left, 0.06, small, array, name, cmap=cmap, limit=limit)
        for (y, x), value in np.ndenumerate(array):
            is_dark = name == "patch" and value < 0
            text = f"{value:.2f}".replace("-", "\N{MINUS SIGN}")
            axes.text(x, y, text, ha="center", va="center", color="white" if is_dark else INK, size=TEXT_POINTS)
    return figure


def save(name: str, figure: Any) -> None:
    """A PNG with 128 colours: a third of the size, and no eye tells them apart."""
    image = Image.open(io.BytesIO(to_png(figure))).convert("RGB").quantize(128)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    write_bytes(PICTURES / f"{name}.png", buffer.getvalue())
    print(f"{name}.png: {len(buffer.getvalue()) / 1000:.0f} kB, {image.width} × {image.height}")


def draw_networks() -> None:
    import ablation

    train, val, _ = ablation.digits()
    models = {
        title: ablation.train(ablation.VARIANTS[name], ablation.SETTINGS["digits"], train, val, seed=0)[0]
        for title, name in (("with batch normalisation", WHOLE), ("without", "no batch normalisation"))
    }
    model = models["with batch normalisation"]
    picture = val.pixels[np.flatnonzero(val.labels == 3)[0]]
    save("convolution", draw_convolution(model, picture))
    save("filters", plots.filters(model, grey=True))
    save("feature-maps", plots.feature_maps(model, picture))
    save("pooling", plots.pooling(model, picture))
    save("batch-normalisation", plots.activations(models, val.pixels[:200]))
    save("dropout", plots.dropout(model, picture))


def main() -> None:
    if sys.argv[1:] not in ([], ["tables"]):
        raise SystemExit(__doc__)
    rows = read_rows("ablation")
    page = PAGE.read_text(encoding="utf-8")
    for name, text in sections(rows).items():
        start, end = section(page, name)
        page = page[:start] + text + page[end:]
    write_text(PAGE, page)
    save("ablation", draw_ablation(rows))
    if not sys.argv[1:]:
        draw_networks()


if __name__ == "__main__":
    main()
