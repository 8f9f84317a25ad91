"""The optimizers do what Keras's do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fieldguide import training

training.import_tensorflow()

import keras  # noqa: E402  # after the call that keeps it quiet

from fieldguide.training.optimizers import WEIGHT_DECAY_EXCLUDES, make_optimizer  # noqa: E402
from fieldguide.training.schedules import warmup_cosine  # noqa: E402

DECAY = 0.05


def trained(optimizer: Any, *, dtype: str = "float32") -> list[np.ndarray]:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.Input((6,), dtype=dtype), keras.layers.Dense(5, "relu", dtype=dtype), keras.layers.Dense(2, dtype=dtype)]
    )
    model.compile(optimizer, keras.losses.MeanSquaredError(), jit_compile=False)
    rng = np.random.default_rng(0)
    model.fit(rng.normal(size=(64, 6)), rng.normal(size=(64, 2)), batch_size=8, epochs=3, shuffle=False, verbose=0)
    return [np.asarray(weight) for weight in (*model.get_weights(), *(v.numpy() for v in optimizer.variables))]


def of_keras(name: str, learning_rate: Any, *, decays: bool) -> Any:
    decay = DECAY if decays else None
    if name == "sgd":
        optimizer = keras.optimizers.SGD(learning_rate, momentum=0.9, nesterov=True, weight_decay=decay)
    else:
        optimizer = keras.optimizers.Adam(learning_rate, weight_decay=decay)
    if decays:
        optimizer.exclude_from_weight_decay(var_names=WEIGHT_DECAY_EXCLUDES)
    return optimizer


@pytest.mark.parametrize("decays", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_weights_and_averages_are_those_of_keras(name: str, dtype: str, decays: bool) -> None:
    rates = [warmup_cosine(0.05, warmup_steps=4, total_steps=24) for _ in range(2)]
    ours = trained(make_optimizer(name, rates[0], weight_decay=DECAY if decays else 0.0), dtype=dtype)
    theirs = trained(of_keras(name, rates[1], decays=decays), dtype=dtype)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=1e-6)
