"""Properties of everything that reads strangers' bytes, on mutations of files that are right."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz_targets import TARGETS, seeds

FEW = {
    "picture": 150,
    "csv_list": 100,
    "folder_names": 25,
    "manifest": 25,
    "bundle_file": 25,
    "zip_of_bundle": 15,
    "record": 60,
}
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@st.composite
def mutated(draw: st.DrawFn, target: str) -> bytes:
    """A seed with bytes changed, removed, repeated or replaced by numbers that overflow."""
    content = bytearray(draw(st.sampled_from(seeds(target))))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        length = draw(st.integers(1, 64))
        match draw(st.sampled_from(("flip", "cut", "drop", "repeat", "number", "insert", "text"))):
            case "flip" if content:
                content[at] ^= draw(st.integers(1, 255))
            case "cut":
                del content[at:]
            case "drop":
                del content[at : at + length]
            case "repeat":
                content[at:at] = content[at : at + length] * draw(st.sampled_from((1, 3, 50)))
            case "number":
                number, order = draw(st.sampled_from(INTERESTING)), draw(st.sampled_from(("big", "little")))
                size = draw(st.sampled_from((1, 2, 4, 8)))
                content[at : at + size] = (number % 256**size).to_bytes(size, order)
            case "insert":
                content[at:at] = draw(st.binary(max_size=32))
            case "text":
                content[at:at] = draw(st.text(max_size=8)).encode("utf-8", "surrogatepass")
    return bytes(content)


def quickly(target: str, factor: int) -> Any:
    return settings(
        max_examples=FEW[target] * factor,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def check(target: str, factor: int) -> None:
    @quickly(target, factor)
    @given(mutated(target))
    def holds(content: bytes) -> None:
        TARGETS[target](content)

    holds()


@pytest.mark.parametrize("target", TARGETS)
def test_seeds_are_read(target: str):
    for content in seeds(target):
        TARGETS[target](content)


@pytest.mark.parametrize("target", TARGETS)
def test_mutated_files_are_read_or_refused(target: str):
    check(target, 1)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_many_more_mutated_files_are_read_or_refused(target: str):
    check(target, 20)


WRONG = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def wrong_manifests(draw: st.DrawFn) -> bytes:
    """The manifest with one value, at any depth, that is missing or anything else."""
    values = json.loads(seeds("manifest")[0])
    place: Any = values
    key = draw(st.sampled_from(sorted(place)))
    while isinstance(place[key], dict) and place[key] and draw(st.booleans()):
        place = place[key]
        key = draw(st.sampled_from(sorted(place)))
    if draw(st.integers(0, 4)):
        place[key] = draw(WRONG)
    else:
        del place[key]
    return json.dumps(values).encode("utf-8")


@pytest.mark.parametrize("factor", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_a_manifest_with_any_value_is_read_or_refused(factor: int):
    @quickly("manifest", factor)
    @given(wrong_manifests())
    def holds(content: bytes) -> None:
        TARGETS["manifest"](content)

    holds()
