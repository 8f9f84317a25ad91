"""How the verbs speak: answers to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fieldguide.records import Prediction, Skipped


def printable(text: str) -> str:
    r"""The text with what could move a terminal's cursor, or break a line in two, written as `\x1b` or `\n`.

    Names of files and classes come from strangers; those that are not valid Unicode cannot be printed at all.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def say(line: str) -> None:
    """A line of progress, or several, to standard error."""
    print("\n".join(map(printable, line.split("\n"))), file=sys.stderr, flush=True)


def say_skipped(skipped: Sequence[Skipped]) -> None:
    """That files were not scored, with the first of them and why."""
    if skipped:
        first = skipped[0]
        others = ", ..." if len(skipped) > 1 else ""
        say(f"{len(skipped):,} file(s) left out, not scored ({first.path}: {first.message}{others}); --json lists them")


def print_json(values: Any) -> None:
    """An answer as one line of JSON."""
    text = json.dumps(values, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # a name that is not valid Unicode, or a terminal that knows few letters
        text = json.dumps(values)
    print(text)


def prediction_line(prediction: Prediction, shown: Sequence[tuple[str, float]]) -> str:
    """The answer for one picture: the class or classes to show with their probabilities, or that it is none of them."""
    if prediction.error is not None:
        return printable(f"{prediction.path}: error: {prediction.error}")
    ranked = ", ".join(f"{name} {probability:.1%}" for name, probability in shown)
    if prediction.none_of_these:
        ranked = f"none of these (nearest: {prediction.nearest_class})" + (f": {ranked}" if len(shown) > 1 else "")
    members = "" if prediction.prediction_set is None else f"; may be: {', '.join(prediction.prediction_set)}"
    return printable(f"{prediction.path}: {ranked}{members}")


def certainty_lines(certainty: Mapping[str, Any], test: Mapping[str, Any] | None) -> Iterator[str]:
    """What a run says of how far its answers can be trusted."""
    if not certainty:
        return
    answered = test["answered"] if test else None
    if certainty["reject"]:
        asked = f"{certainty['reject']:.3g}"
        line = f"none of these: threshold for turning away {float(asked):.2%} of pictures like yours"
        if not certainty["is_share_known"]:
            line += f"; the real share is unknown, for only {certainty['num_held_out']:,} pictures could be held out"
        elif answered:
            line += f"; of the test pictures {1 - answered['share']:.2%} were"
        yield line
    near = certainty["near_strangers"]
    if near:
        yield f"strangers that resemble your classes are caught {near['caught']:.0%} of the time (each class left out in turn)"


def what_if_lines(measured: Mapping[str, Any] | None) -> Iterator[str]:
    """What the actions of a review are worth."""
    if measured:
        low, high = measured["interval"]
        yield (
            f"what if:  {measured['num_excluded']:,} excluded and {measured['num_relabelled']:,} relabelled: "
            f"{measured['accuracy_with']:.2%} instead of {measured['accuracy_without']:.2%} right on the "
            f"{measured['num_images']:,} others ({100 * measured['difference']:+.2f} points, 95 % interval "
            f"{100 * low:+.2f} to {100 * high:+.2f}; cross-validation)"
        )


def score_line(score: Mapping[str, Any] | None) -> str:
    """One part's accuracy with its interval and its number of pictures."""
    if score is None:
        return "no pictures"
    low, high = score["interval"]
    text = f"{score['accuracy']:.2%} (95 % interval {low:.2%} to {high:.2%}, {score['num_images']:,} pictures"
    without = score.get("without_leaks")
    text += f", {score['method']})"
    if without:
        text += f"; {without['accuracy']:.2%} without {score['num_leaked']} copies of training pictures"
    answered = score.get("answered")
    if answered and answered["num_images"] < score["num_images"]:
        text += f"; {answered['share']:.2%} answered"
        text += "" if answered["accuracy"] is None else f", {answered['accuracy']:.2%} of them right"
    if (score.get("times_scored") or 0) > 1:
        text += f"; scored {score['times_scored']} times on this machine"
    return text
