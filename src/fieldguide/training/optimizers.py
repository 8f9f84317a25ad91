"""AdamW and SGD whose update of a variable is one pass over it: Keras takes a dozen operations, each over all the weights."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

WEIGHT_DECAY_EXCLUDES = ["bias", "gamma", "beta"]  # biases and normalisation are not shrunk
_MOMENTUM = 0.9


class FusedAdamW(keras.optimizers.AdamW):  # type: ignore[misc]  # Keras ships no types
    """The update of `keras.optimizers.AdamW` as TensorFlow's one operation for it."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Moves one variable and its two averages."""
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=_handle(self._momentums[index]),
            v=_handle(self._velocities[index]),
            beta1_power=self.beta_1**step,
            beta2_power=self.beta_2**step,
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(gradient, variable.dtype),
        )


class FusedSGD(keras.optimizers.SGD):  # type: ignore[misc]  # Keras ships no types
    """The update of `keras.optimizers.SGD`, with momentum, as TensorFlow's one operation for it."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Moves one variable and its momentum."""
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=_handle(self.momentums[self._get_variable_index(variable)]),
            lr=tf.cast(learning_rate, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
            momentum=self.momentum,
            use_nesterov=self.nesterov,
        )


def make_optimizer(name: str, learning_rate: Any, *, weight_decay: float) -> Any:
    """A Keras optimizer.

    Args:
        name: adamw or sgd (Nesterov's, momentum 0.9).
        learning_rate: a Keras schedule, or a number, which can be changed while training.
        weight_decay: per step and learning rate; biases and normalisation are left out.
    """
    decay = weight_decay or None
    if name == "adamw":
        optimizer = FusedAdamW(learning_rate, weight_decay=weight_decay)
    else:
        optimizer = FusedSGD(learning_rate, momentum=_MOMENTUM, nesterov=True, weight_decay=decay)
    if weight_decay:
        optimizer.exclude_from_weight_decay(var_names=WEIGHT_DECAY_EXCLUDES)
    return optimizer


def _handle(variable: Any) -> Any:
    """Of TensorFlow's variable within Keras's."""
    return getattr(variable, "value", variable).handle
