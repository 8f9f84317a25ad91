"""One number that makes probabilities mean what they say: logits are divided by it before the softmax.

It changes no top class, only how sure the answer sounds. It is fitted on pictures that the classifier did not learn from.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.embedding.linear_head import softmax

LOWEST, HIGHEST = 0.05, 20.0
_SMALLEST = 1e-37  # a probability that float32 still tells from 0


def fit_temperature(probabilities: NDArray[Any], labels: NDArray[np.int64]) -> float:
    """The temperature with the smallest log loss on held-out pictures.

    One picture more is counted than there are, its label spread evenly over the classes, so that a few pictures that were
    all classified correctly do not make every answer certain (Laplace's rule of succession). To 2,000 pictures it makes
    little difference; with ten it keeps the answers modest.

    Args:
        probabilities: (num_images, num_classes), at temperature 1, of pictures that were not learned from.
        labels: (num_images,).

    Returns:
        In [0.05, 20]: above 1 answers become less sure, below 1 surer. 1.0 where there is no picture.

    Source: Guo et al. 2017, https://arxiv.org/abs/1706.04599, section 4.2; such a guard: Platt 1999, section 2.2.
    """
    if not len(labels):
        return 1.0
    from scipy.optimize import minimize_scalar

    logits = np.log(np.maximum(probabilities.astype(np.float64), _SMALLEST))
    logits -= logits.max(axis=1, keepdims=True)
    # The picture more is the mean picture: each gives 1 / num_images of its weight to all classes alike.
    of_labels = logits[np.arange(len(labels)), labels].sum() + logits.mean()

    def loss(log_temperature: float) -> float:
        inverse = float(np.exp(-log_temperature))
        log_sums = np.log(np.exp(inverse * logits).sum(axis=1))
        return float(log_sums.sum() + log_sums.mean() - inverse * of_labels)

    found = minimize_scalar(loss, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded", options={"xatol": 1e-5})
    return float(np.exp(found.x))


def at_temperature(probabilities: NDArray[Any], temperature: float) -> NDArray[np.float32]:
    """Probabilities (num_images, num_classes) as they are when their logits are divided by the temperature."""
    logits = np.log(np.maximum(probabilities.astype(np.float64), _SMALLEST)) / temperature
    return np.asarray(softmax(logits), np.float32)
