"""Regularised multinomial logistic regression on embeddings: fitted once along a path of strengths, cross-validated.

The objective is scikit-learn's, `sum of log losses + |kernel|^2 / (2 strength)` on standardised embeddings, minimised by
L-BFGS. It is written here because the path is what costs: warm starts, all folds in one pass, single-precision products and a
change of variables save most of it, and the rows may be a float16 file larger than the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.data.parallel import own_threads, slices
from fieldguide.embedding.remembering import remembers_last

STRENGTHS = tuple(10.0**exponent for exponent in np.arange(-3.5, 0.6, 0.5))
_ROWS_PER_CHUNK = 16_384
_ROWS_PER_PIECE = 1_024  # for one thread of several
_BYTES_PER_BLOCK = 2**21  # of rows that are multiplied twice in a row: what the caches of a core hold


@dataclass(frozen=True, eq=False)
class LinearHead:
    """`embeddings @ kernel + bias` = logits; the standardisation is folded in."""

    kernel: NDArray[np.float32]  # (embedding_size, num_classes)
    bias: NDArray[np.float32]  # (num_classes,)

    def logits(self, embeddings: NDArray[Any]) -> NDArray[np.float32]:
        """(num_images, embedding_size) -> (num_images, num_classes)."""
        result = np.empty((len(embeddings), len(self.bias)), np.float32)
        for rows in slices(len(embeddings), _ROWS_PER_CHUNK):
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
            for fold, logits in enumerate(_logits_of_all(heads, embeddings)):
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


def _logits_of_all(heads: Sequence[LinearHead], embeddings: NDArray[Any]) -> NDArray[np.float32]:
    """(num_heads, num_images, num_classes): as `LinearHead.logits` of each, but the embeddings are read once."""
    wide = LinearHead(np.concatenate([h.kernel for h in heads], axis=1), np.concatenate([h.bias for h in heads]))
    return np.moveaxis(wide.logits(embeddings).reshape(len(embeddings), len(heads), -1), 1, 0)


def fit_subsets(
    embeddings: NDArray[Any],
    labels: NDArray[np.int64],
    subsets: NDArray[np.bool_],
    *,
    num_classes: int,
    strength: float,
    tolerance: float = 1e-7,
    scaling: Scaling | None = None,
    start: Sequence[LinearHead] = (),
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
            start=start,
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
        with own_threads() as pool:
            if len(embeddings) < embeddings.shape[1]:
                return cls._of_few(np.asarray(embeddings, np.float32))
            return cls._of_many(embeddings, pool)

    @classmethod
    def _of_many(cls, embeddings: NDArray[Any], pool: ThreadPoolExecutor) -> Scaling:
        from scipy.linalg import eigh

        size = embeddings.shape[1]
        center = np.asarray(embeddings[: min(len(embeddings), 1000)], np.float32).mean(axis=0)
        total = np.zeros(size)
        products = np.zeros((size, size))

        def sums(rows: slice) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
            x = np.asarray(embeddings[rows], np.float32) - center  # near the mean, so that float32 products suffice
            return x.sum(axis=0, dtype=np.float64), x.T @ x

        for chunk in slices(len(embeddings), _ROWS_PER_CHUNK):
            for part_total, part_products in pool.map(sums, slices(chunk.stop, _ROWS_PER_PIECE, start=chunk.start)):
                total += part_total
                products += part_products
        shift = total / len(embeddings)
        covariance = products
        covariance /= len(embeddings)
        covariance -= np.outer(shift, shift)
        deviation = np.sqrt(np.maximum(np.diag(covariance), 0.0))
        deviation[deviation < 1e-6] = 1.0
        correlation = covariance.astype(np.float32)
        correlation /= np.outer(deviation, deviation)
        variances, axes = eigh(correlation.T, driver="evd", overwrite_a=True, check_finite=False)
        scaling = cls(
            mean=(center + shift).astype(np.float32),
            deviation=deviation.astype(np.float32),
            axes=np.ascontiguousarray(axes),
            variances=np.maximum(variances.astype(np.float64), 0.0),
            turned=None,
        )
        if len(embeddings) > _ROWS_PER_CHUNK:
            return scaling
        turned = np.empty((len(embeddings), size), np.float32)

        def turn(rows: slice) -> None:
            np.matmul(scaling.standardise(embeddings[rows]), scaling.axes, out=turned[rows])

        list(pool.map(turn, slices(len(embeddings), _ROWS_PER_PIECE)))
        return replace(scaling, turned=turned)

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
    start: Sequence[LinearHead] = (),
) -> Iterator[list[LinearHead]]:
    """Yields the heads of each strength, one per subset, each fit starting where the one before ended.

    All subsets are fitted as one problem: reading the embeddings is what costs, and they are read once for all.

    Kernels have a row per class here, and the minimiser sees kernel = (scale * u) @ axes.T. Along an axis of variance v the
    curvature of the log loss is at most v / 4, that of the penalty 1 / (strength * count); scale = 1 / sqrt(their sum) makes
    the objective nearly round in u, so that L-BFGS needs tens of steps instead of hundreds.
    """
    from scipy.optimize import minimize

    scaling = scaling or Scaling.of(embeddings)
    is_small = scaling.turned is not None
    if scaling.turned is not None:  # standardised and turned to the axes once, instead of the kernel at every step
        embeddings = scaling.turned

    def turn(kernel: NDArray[Any]) -> NDArray[np.float32]:
        return np.asarray(kernel if is_small else kernel @ scaling.axes.T, np.float32)

    def turn_back(kernel: NDArray[Any]) -> NDArray[np.float32]:
        return np.asarray(kernel if is_small else kernel @ scaling.axes, np.float32)

    size, num_subsets = len(scaling.variances), subsets.shape[1]
    columns = num_subsets * num_classes
    counts = subsets.sum(axis=0)  # (num_subsets,)
    weights = np.ascontiguousarray((subsets / counts).T, np.float32)  # each subset's mean log loss: tolerances mean the same
    kernel, bias = np.zeros((columns, embeddings.shape[1]), np.float32), np.zeros(columns)
    if start:
        raw_kernel = np.concatenate([head.kernel for head in start], axis=1).T
        bias = np.concatenate([head.bias for head in start]) + raw_kernel @ scaling.mean
        kernel = raw_kernel * scaling.deviation
        kernel = kernel @ scaling.axes if is_small else kernel
    for strength in strengths:
        penalty = np.repeat(1.0 / (strength * counts), num_classes)[:, None]  # (columns, 1)
        scale = 1.0 / np.sqrt(0.25 * scaling.variances + penalty)  # (columns, num_axes)

        def objective(
            flat: NDArray[np.float64], penalty: NDArray[np.float64] = penalty, scale: NDArray[np.float64] = scale
        ) -> tuple[float, NDArray[np.float64]]:
            u = flat.reshape(columns, size + 1)
            kernel = turn((scale * u[:, :-1]).astype(np.float32))
            loss, kernel_gradient, bias_gradient = _log_losses(
                embeddings, labels, weights, kernel, u[:, -1], None if is_small else scaling, pool
            )
            loss += 0.5 * float((penalty * np.square(kernel, dtype=np.float64)).sum())
            kernel_gradient += penalty * kernel
            u_gradient = scale * turn_back(kernel_gradient.astype(np.float32))
            return loss, np.concatenate([u_gradient, bias_gradient[:, None]], axis=1).ravel()

        first = np.concatenate([turn_back(kernel) / scale, bias[:, None]], axis=1).ravel()
        options = {"maxiter": 300, "ftol": tolerance, "gtol": 1e-6}
        found = minimize(objective, first, jac=True, method="L-BFGS-B", options=options).x.reshape(columns, size + 1)
        kernel, bias = turn((scale * found[:, :-1]).astype(np.float32)), found[:, -1]
        raw_kernel = (kernel @ scaling.axes.T if is_small else kernel) / scaling.deviation
        raw_bias = (bias - raw_kernel @ scaling.mean).astype(np.float32)
        yield [
            LinearHead(np.ascontiguousarray(raw_kernel[k : k + num_classes].T), raw_bias[k : k + num_classes])
            for k in range(0, columns, num_classes)
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
    """The weighted log loss summed over subsets, and its gradients: products in float32, sums in float64.

    Pictures are columns here: sums over a handful of classes are sums of long rows then. They are taken in blocks that the
    caches of a core hold, since each is multiplied twice; blocks are added in order, whatever the number of threads.
    """
    num_subsets = len(weights)

    def of_rows(rows: slice) -> tuple[float, NDArray[np.float32], NDArray[np.float64]]:
        x = embeddings[rows] if scaling is None else scaling.standardise(embeddings[rows])
        y, w = labels[rows], weights[:, rows]
        each = np.arange(len(y))
        logits = (kernel @ x.T + bias.astype(np.float32)[:, None]).reshape(num_subsets, -1, len(y))
        logits -= logits.max(axis=1, keepdims=True)
        of_label = logits[:, y, each]  # (num_subsets, rows)
        residual = np.exp(logits, out=logits)
        sums = residual.sum(axis=1)
        loss = float((w * (np.log(sums) - of_label)).sum(dtype=np.float64))
        residual *= (w / sums)[:, None]
        residual[:, y, each] -= w
        flat = residual.reshape(-1, len(y))
        return loss, flat @ x, flat.sum(axis=1, dtype=np.float64)

    loss, kernel_gradient, bias_gradient = 0.0, np.zeros(kernel.shape), np.zeros(bias.shape)
    rows_per_block = max(_BYTES_PER_BLOCK // (4 * max(embeddings.shape[1], 1)), len(kernel))
    for part_loss, part_kernel, part_bias in pool.map(of_rows, slices(len(embeddings), rows_per_block)):
        loss += part_loss
        kernel_gradient += part_kernel
        bias_gradient += part_bias
    return loss, kernel_gradient, bias_gradient
