"""Requests made from the server's own description: what it says of itself holds, and nothing brings it down."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from tests.conftest import HUES
from tests.serving.test_server import Server, server  # noqa: F401 - the fixture

# Most bytes are no picture and most words no class: that they are refused is described, and no fault.
NOT_ASKED = [schemathesis.checks.positive_data_acceptance]


@pytest.mark.parametrize("server", ["collect"], indirect=True)
@pytest.mark.parametrize("num_examples", [20, pytest.param(1000, marks=pytest.mark.slow)])
def test_it_answers_as_it_is_described(server: Server, tmp_path: Path, num_examples: int) -> None:  # noqa: F811
    schema = schemathesis.openapi.from_url(f"{server.address}/openapi.json")
    statuses: dict[str, Counter[int]] = defaultdict(Counter)

    def ask(case: schemathesis.Case) -> None:
        counts = statuses[case.operation.label]
        if counts.total() % 2 and "class_name" in case.query:
            case.query["class_name"] = next(iter(HUES))
        response = case.call(timeout=20)
        counts[response.status_code] += 1
        case.validate_response(response, excluded_checks=NOT_ASKED)

    many = settings(
        max_examples=num_examples,
        derandomize=True,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    for operation in (found.ok() for found in schema.get_all_operations()):
        many(given(case=operation.as_strategy())(ask))()

    assert {label: max(counts) < 500 for label, counts in statuses.items()} == dict.fromkeys(
        ("POST /v1/predict", "POST /v1/correct", "GET /v1/model"), True
    )
    assert statuses["POST /v1/predict"].keys() >= {200, 415, 422}
    assert statuses["POST /v1/correct"].keys() >= {200, 404}
    assert list((tmp_path / "collected").glob("*/*"))
    assert server.process.poll() is None
