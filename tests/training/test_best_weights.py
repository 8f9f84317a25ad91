from __future__ import annotations

import pytest

pytest.importorskip("tensorflow")

import keras
import numpy as np

from fieldguide.training.best_weights import BestWeights


def make(momentum: float) -> tuple[BestWeights, keras.Model]:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile("sgd", "mse")
    best = BestWeights(average_momentum=momentum)
    best.set_model(model)
    best.on_train_begin()
    return best, model


def learn(best: BestWeights, model: keras.Model, values: list[float]) -> None:
    for batch, value in enumerate(values):
        model.weights[0].assign([[value]])
        best.on_train_batch_end(batch)


def average_of(best: BestWeights) -> float:
    return best.state()[0]["average"][0].item()


def test_the_average_moves_every_fourth_step_by_as_much_as_four_steps_and_at_the_end_of_the_epoch() -> None:
    best, model = make(0.9)
    learn(best, model, [1.0] * 3)
    assert average_of(best) == 0.0
    learn(best, model, [2.0])
    first = (1 - (4 / 13) ** 4) * 2.0  # the first steps count more
    assert average_of(best) == pytest.approx(first, rel=1e-6)
    learn(best, model, [3.0, 5.0])
    assert average_of(best) == pytest.approx(first, rel=1e-6)
    best.on_epoch_end(0, {"loss": 1.0})
    second = first + (1 - (6 / 15) ** 2) * (5.0 - first)
    assert average_of(best) == pytest.approx(second, rel=1e-6)
    best.restore()
    assert model.weights[0].numpy().item() == pytest.approx(second, rel=1e-6)


def test_validation_sees_the_average_of_all_steps_and_training_goes_on_with_the_weights() -> None:
    best, model = make(0.0)
    learn(best, model, [1.0, 7.0])
    best.on_test_begin()
    assert model.weights[0].numpy().item() == 7.0  # momentum 0: the weights themselves
    model.weights[0].assign([[0.0]])
    best.on_test_end()
    assert model.weights[0].numpy().item() == 7.0


def test_a_callback_that_takes_up_the_state_of_another_goes_on_as_it_would_have() -> None:
    (one, model), (other, copy) = make(0.99), make(0.99)
    rng = np.random.default_rng(0)
    learn(one, model, rng.normal(size=6).tolist())
    other.set_state(*one.state())
    rest = rng.normal(size=7).tolist()
    learn(one, model, rest)
    learn(other, copy, rest)
    assert average_of(one) == average_of(other) != 0.0


def test_weights_of_other_types_are_averaged_in_theirs_and_counters_are_taken_as_they_are() -> None:
    half = keras.layers.Dense(1, use_bias=False, dtype="float16", kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((1,)), half, keras.layers.Normalization(axis=None)])
    model.compile("sgd", "mse")
    best = BestWeights(average_momentum=0.9)
    best.set_model(model)
    best.on_train_begin()
    by_name = {weight.name: weight for weight in model.weights}
    by_name["count"].assign(7)
    learn(best, model, [2.0] * 4)
    best.on_test_begin()
    assert by_name["count"].numpy() == 7
    assert by_name["kernel"].numpy().item() == pytest.approx((1 - (4 / 13) ** 4) * 2.0, rel=1e-3)
