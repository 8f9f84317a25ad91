"""Regularised multinomial logistic regression on embeddings: fitted once along a path of strengths, cross-validated.

The objective is scikit-learn's, `sum of log losses + |kernel|^2 / (2 strength)` on standardised embeddings, minimised by
L-BFGS. It is written here because the path is what costs: warm starts, all folds in one pass, single-precision products and a
change of variables save most of it, and the rows may be a float16 file larger than the memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.data.parallel import own_threads
from fieldguide.embedding.remembering import remembers_last

STRENGTHS = tuple(10.0**exponent for exponent in np.arange(-3.5, 0.6, 0.5))
_ROWS_PER_CHUNK = 16_384


@dataclass(frozen=True, eq=False)
class LinearHead:
    """`embeddings @ kernel + bias` = logits; the standardisation is folded in."""

    kernel: NDArray[np.float32]  # (embedding_size, num_classes)
    bias: NDArray[np.float32]  # (num_classes,)

    def logits(self, embeddings: NDArray[Any]) -> NDArray[np.float32]:
        """(num_images, embedding_size) -> (num_images, num_classes)."""
        result = np.empty((len(embeddings), len(self.bias)), np.float32)
        for rows in _chunks(len(embeddings)):
            result[rows] = np.asarray(embeddings[rows], np.float32) @ self.kernel + self.bias
        return result


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """The path, fold by fold: what each strength reached on pictures held out."""

    strengths: tuple[float, ...]  # those tried; the path ends early once the loss rises
    val_log_loss: tuple[float, ...]
    val_accuracy: tuple[float, ...]
    train_accuracy: tuple[float, ...]
    chosen: int  # position of the smallest val_log_loss
    out_of_fold: NDArray[np.float32]  # (num_images, num_classes), probabilities at the chosen strength


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """Rows of logits -> rows of probabilities that sum to 1."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def log_loss(probabilities: NDArray[Any], labels: NDArray[np.int64]) -> float:
    """Mean of -log(probability of the label)."""
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(chosen, 1e-15)).mean())


def fit_head(
    embeddings: NDArray[Any],
    labels: NDArray[np.int64],
    *,
    num_classes: int,
    strength: float,
    scaling: Scaling | None = None,
) -> LinearHead:
    """Fits one head.

    Args:
        embeddings: (num_images, embedding_size), of any float type; may be a memory map, it is read in chunks.
        labels: (num_images,), 0 .. num_classes - 1.
        num_classes: columns of the head.
        strength: larger is less regularised (scikit-learn's C).
        scaling: `Scaling.of(embeddings)`, where it is known already.
    """
    everything = np.ones((len(labels), 1), bool)
    return fit_subsets(embeddings, labels, everything, num_classes=num_classes, strength=strength, scaling=scaling)[0]


def cross_validate(
    embeddings: NDArray[Any],
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
    *,
    num_classes: int,
    strengths: Sequence[float] = STRENGTHS,
    scaling: Scaling | None = None,
    progress: Callable[[int], None] = lambda count: None,
) -> CrossValidation:
    """Follows the path in every fold and picks the strength with the smallest out-of-fold log loss.

    Means and deviations are those of all rows: they know nothing of labels.

    Args:
        embeddings: (num_images, embedding_size); copied to float32, so at most some ten thousand rows.
        labels: (num_images,).
        folds: (num_images,), the fold that holds each picture out.
        num_classes: number of classes.
        strengths: ascending. The path ends after two strengths in a row that were worse than the best.
        scaling: `Scaling.of(embeddings)`, where it is known already.
        progress: called with the number of strengths just finished.
    """
    num_folds = int(folds.max()) + 1
    seen = folds[:, None] != np.arange(num_folds)  # (num_images, num_folds)
    losses: list[float] = []
    accuracies: list[float] = []
    train_accuracies: list[float] = []
    best = np.empty((0, num_classes), np.float32)
    with own_threads() as pool:
        path = _fit_path(embeddings, labels, seen, num_classes=num_classes, strengths=strengths, pool=pool, scaling=scaling)
        for heads in path:
            held_out = np.empty((len(labels), num_classes), np.float32)
            fitted = 0.0
            for fold, head in enumerate(heads):
                logits = head.logits(embeddings)
                held_out[folds == fold] = softmax(logits[folds == fold])
                fitted += float((logits.argmax(axis=1) == labels)[folds != fold].mean()) / num_folds
            losses.append(log_loss(held_out, labels))
            accuracies.append(float((held_out.argmax(axis=1) == labels).mean()))
            train_accuracies.append(fitted)
            progress(1)
            if losses[-1] == min(losses):
                best = held_out
            if len(losses) >= 3 and min(losses[-2:]) > min(losses):
                break
    return CrossValidation(
        strengths=tuple(strengths[: len(losses)]),
        val_log_loss=tuple(losses),
        val_accuracy=tuple(accuracies),
        train_accuracy=tuple(train_accuracies),
        chosen=int(np.argmin(losses)),
        out_of_fold=best,
    )


def fit_subsets(
    embeddings: NDArray[Any],
    labels: NDArray[np.int64],
    subsets: NDArray[np.bool_],
    *,
    num_classes: int,
    strength: float,
    tolerance: float = 1e-7,
    scaling: Scaling | None = None,
) -> list[LinearHead]:
    """One head per column of `subsets` (num_images, num_subsets), fitted on the rows marked in it.

    `tolerance` is the relative change of the objective that ends the fit; 1e-4 is enough to compare accuracies. `scaling` is
    `Scaling.of(embeddings)`, where it is known already.
    """
    with own_threads() as pool:
        path = _fit_path(
            embeddings,
            labels,
            subsets,
            num_classes=num_classes,
            strengths=(strength,),
            pool=pool,
            tolerance=tolerance,
            scaling=scaling,
        )
        return next(path)


@dataclass(frozen=True, eq=False)
class Scaling:
    """Standardisation, and the principal axes in which the objective is nearly round: 0.4 s for 1,280 numbers a picture."""

    mean: NDArray[np.float32]  # (embedding_size,)
    deviation: NDArray[np.float32]  # (embedding_size,); 1 for a constant column
    axes: NDArray[np.float32]  # (embedding_size, num_axes), orthonormal columns, at most as many as pictures; by variance
    variances: NDArray[np.float64]  # (num_axes,), ascending, of the standardised embeddings along the axes
    turned: NDArray[np.float32] | None  # (num_images, num_axes), the embeddings along the axes; None where they are many

    @classmethod
    def of(cls, embeddings: NDArray[Any]) -> Scaling:
        """The scaling of (num_images, embedding_size); the last one is kept, since the audit and a recipe ask for the same."""
        return _scaling_of(embeddings)

    @classmethod
    def _computed(cls, embeddings: NDArray[Any]) -> Scaling:
        size = embeddings.shape[1]
        if len(embeddings) < size:
            return cls._of_few(np.asarray(embeddings, np.float32))
        center = np.asarray(embeddings[: min(len(embeddings), 1000)], np.float32).mean(axis=0)
        total = np.zeros(size)
        products = np.zeros((size, size))
        for rows in _chunks(len(embeddings)):
            x = np.asarray(embeddings[rows], np.float32) - center  # near the mean, so that float32 products suffice
            total += x.sum(axis=0, dtype=np.float64)
            products += x.T @ x
        shift = total / len(embeddings)
        covariance = products / len(embeddings) - np.outer(shift, shift)
        deviation = np.sqrt(np.maximum(np.diag(covariance), 0.0))
        deviation[deviation < 1e-6] = 1.0
        correlation = (covariance / np.outer(deviation, deviation)).astype(np.float32)
        variances, axes = np.linalg.eigh(correlation)
        scaling = cls(
            mean=(center + shift).astype(np.float32),
            deviation=deviation.astype(np.float32),
            axes=np.ascontiguousarray(axes),
            variances=np.maximum(variances.astype(np.float64), 0.0),
            turned=None,
        )
        if len(embeddings) > _ROWS_PER_CHUNK:
            return scaling
        return replace(scaling, turned=scaling.standardise(embeddings) @ scaling.axes)

    @classmethod
    def _of_few(cls, embeddings: NDArray[np.float32]) -> Scaling:
        """With fewer pictures than numbers in an embedding, the kernel lies in the span of the pictures.

        Their products with each other, (num_images, num_images), then have the same eigenvalues, and cost far less.
        """
        mean, deviation = embeddings.mean(axis=0, dtype=np.float64), embeddings.std(axis=0, dtype=np.float64)
        deviation[deviation < 1e-6] = 1.0
        x = (embeddings - mean) / deviation
        eigenvalues, vectors = np.linalg.eigh(x @ x.T)
        kept = eigenvalues > 1e-9 * max(eigenvalues[-1], 1e-30)  # the mean is taken off, so that one at least is zero
        axes = x.T @ (vectors[:, kept] / np.sqrt(eigenvalues[kept]))
        return cls(
            mean=mean.astype(np.float32),
            deviation=deviation.astype(np.float32),
            axes=np.ascontiguousarray(axes, np.float32),
            variances=eigenvalues[kept] / len(x),
            turned=np.asarray(x @ axes, np.float32),
        )

    def leading(self, num_axes: int) -> Scaling:
        """With the axes of the largest variances alone: heads for a fraction of the work, which see less of a picture."""
        axes = np.ascontiguousarray(self.axes[:, -num_axes:])
        turned = None if self.turned is None else np.ascontiguousarray(self.turned[:, -num_axes:])
        return replace(self, axes=axes, variances=self.variances[-num_axes:], turned=turned)

    def standardise(self, embeddings: NDArray[Any]) -> NDArray[np.float32]:
        """To mean 0 and deviation 1, in float32; the shape stays."""
        return np.asarray((np.asarray(embeddings, np.float32) - self.mean) / self.deviation)


_scaling_of = remembers_last(Scaling._computed)


def _fit_path(
    embeddings: NDArray[Any],
    labels: NDArray[np.int64],
    subsets: NDArray[np.bool_],
    *,
    num_classes: int,
    strengths: Sequence[float],
    pool: ThreadPoolExecutor,
    tolerance: float = 1e-5,
    scaling: Scaling | None = None,
) -> Iterator[list[LinearHead]]:
    """Yields the heads of each strength, one per subset, each fit starting where the one before ended.

    All subsets are fitted as one problem: reading the embeddings is what costs, and they are read once for all.

    The minimiser sees kernel = axes @ (scale * u). Along an axis of variance v the curvature of the log loss is at most
    v / 4, that of the penalty 1 / (strength * count); scale = 1 / sqrt(their sum) makes the objective nearly round in u,
    so that L-BFGS needs tens of steps instead of hundreds.
    """
    from scipy.optimize import minimize

    scaling = scaling or Scaling.of(embeddings)
    is_small = scaling.turned is not None
    if scaling.turned is not None:  # standardised and turned to the axes once, instead of the kernel at every step
        embeddings = scaling.turned

    def turn(kernel: NDArray[Any]) -> NDArray[np.float32]:
        return np.asarray(kernel if is_small else scaling.axes @ kernel, np.float32)

    def turn_back(kernel: NDArray[Any]) -> NDArray[np.float32]:
        return np.asarray(kernel if is_small else scaling.axes.T @ kernel, np.float32)

    size, num_subsets = len(scaling.variances), subsets.shape[1]
    columns = num_subsets * num_classes
    counts = subsets.sum(axis=0)  # (num_subsets,)
    weights = (subsets / counts).astype(np.float32)  # each subset's mean log loss, so that tolerances mean the same
    kernel, bias = np.zeros((size, columns), np.float32), np.zeros(columns)
    for strength in strengths:
        penalty = np.repeat(1.0 / (strength * counts), num_classes)  # (columns,)
        scale = 1.0 / np.sqrt(0.25 * scaling.variances[:, None] + penalty)  # (num_axes, columns)

        def objective(
            flat: NDArray[np.float64], penalty: NDArray[np.float64] = penalty, scale: NDArray[np.float64] = scale
        ) -> tuple[float, NDArray[np.float64]]:
            u = flat.reshape(size + 1, columns)
            kernel = turn((scale * u[:-1]).astype(np.float32))
            loss, kernel_gradient, bias_gradient = _log_losses(
                embeddings, labels, weights, kernel, u[-1], None if is_small else scaling, pool
            )
            loss += 0.5 * float((penalty * np.square(kernel, dtype=np.float64)).sum())
            kernel_gradient += penalty * kernel
            u_gradient = scale * turn_back(kernel_gradient.astype(np.float32))
            return loss, np.concatenate([u_gradient, bias_gradient[None]]).ravel()

        start = np.concatenate([turn_back(kernel) / scale, bias[None]]).ravel()
        options = {"maxiter": 300, "ftol": tolerance, "gtol": 1e-6}
        found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x.reshape(size + 1, columns)
        kernel, bias = turn((scale * found[:-1]).astype(np.float32)), found[-1]
        raw_kernel = (scaling.axes @ kernel if is_small else kernel) / scaling.deviation[:, None]
        raw_bias = (bias - scaling.mean @ raw_kernel).astype(np.float32)
        yield [
            LinearHead(np.ascontiguousarray(raw_kernel[:, first : first + num_classes]), raw_bias[first : first + num_classes])
            for first in range(0, columns, num_classes)
        ]


def _log_losses(
    embeddings: NDArray[Any],
    labels: NDArray[np.int64],
    weights: NDArray[np.float32],
    kernel: NDArray[np.float32],
    bias: NDArray[np.float64],
    scaling: Scaling | None,
    pool: ThreadPoolExecutor,
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """The weighted log loss summed over subsets, and its gradients: products in float32, sums in float64."""
    num_subsets = weights.shape[1]

    def of_rows(rows: slice) -> tuple[float, NDArray[np.float32], NDArray[np.float64]]:
        x = embeddings[rows] if scaling is None else scaling.standardise(embeddings[rows])
        y, w = labels[rows], weights[rows]
        each = np.arange(len(y))
        logits = (x @ kernel + bias.astype(np.float32)).reshape(len(y), num_subsets, -1)
        logits -= logits.max(axis=2, keepdims=True)
        of_label = logits[each, :, y]  # (rows, subsets)
        exponentials = np.exp(logits, out=logits)
        sums = exponentials.sum(axis=2, keepdims=True)
        loss = float((w * (np.log(sums[:, :, 0]) - of_label)).sum(dtype=np.float64))
        residual = exponentials / sums
        residual[each, :, y] -= 1.0
        residual *= w[:, :, None]
        flat = residual.reshape(len(y), -1)
        return loss, x.T @ flat, flat.sum(axis=0, dtype=np.float64)

    loss, kernel_gradient, bias_gradient = 0.0, np.zeros(kernel.shape), np.zeros(bias.shape)
    for part_loss, part_kernel, part_bias in pool.map(of_rows, _chunks(len(embeddings), os.cpu_count() or 1)):
        loss += part_loss
        kernel_gradient += part_kernel
        bias_gradient += part_bias
    return loss, kernel_gradient, bias_gradient


def _chunks(count: int, num_pieces: int = 1) -> Iterator[slice]:
    """Consecutive slices of `count` rows: at least `num_pieces`, none longer than the limit."""
    size = min(-(-count // num_pieces), _ROWS_PER_CHUNK)
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
