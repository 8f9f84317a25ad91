"""Which labels to look at first: those that classifiers which had not seen the picture find hard to believe.

Confident learning: from out-of-fold probabilities, the confident joint tells how many labels are wrong; the least believable
are left out of the training and the probabilities are made again, twice, so that the last classifiers have learned few wrong
labels. (The first classifiers see the embeddings along their leading axes alone: they only say what to leave out.) Then Bayes'
rule weighs what they see in a picture against how rarely labels are wrong in this folder,

    P(label is wrong | picture) = w / (w + p(label) (1 - e)),  w = (1 - p(label)) e / (num_classes - 1),

where the share e of wrong labels is the one under which the mean of this probability is e itself (expectation maximisation).
A weak classifier contradicts many labels that are right; this is what keeps most of them from being named.

Sources: Northcutt et al. 2021, https://doi.org/10.1613/jair.1.12125, for the joint and the pruning; Dawid and Skene 1979,
https://doi.org/10.2307/2346806, for the share of errors. `benchmarks/audit.py` measures it on planted errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.data.split import fold_numbers, stratified_sample
from fieldguide.embedding.linear_head import LinearHead, Scaling, cross_validate, fit_subsets, log_loss, softmax

NAMED_FROM = 0.1  # probability that the label is wrong
MOST_LEARNED_FROM = 10_000  # pictures; the others are judged by classifiers that learned from these
FEWEST_PER_CLASS = 8  # pictures (or groups of copies); smaller classes cannot be judged

_STRENGTHS = tuple(10.0**exponent for exponent in np.arange(-4.5, 1.0, 1.0))
_AXES_AT_FIRST = 256  # of the embeddings in the first training, which follows the path of strengths, the costliest
_NUM_FOLDS = 5
_LEFT_OUT_FROM = (0.5, 0.3)  # probability of being wrong, before the second and the third training
_LOOSER = 10**0.5  # strength after the first training: cleaner labels may be followed more closely
_FIRST_GUESS = 0.05  # share of wrong labels
_RATES = (1e-4, 0.5)  # its bounds


@dataclass(frozen=True, eq=False)
class LabelCheck:
    """What was found for every picture that could be judged.

    Attributes:
        positions: (num_judged,); of the pictures, in the order they were given.
        wrong: (num_judged,); probability that the label is wrong.
        suggested: (num_judged,); the most probable other class.
        probabilities: (num_judged, num_classes); out of fold, after the cleaning; 0 for classes that are too small.
        noise_rate: estimated share of wrong labels.
        learned_from: (num_learned,); rows of the pictures that the classifiers learned from, at most `MOST_LEARNED_FROM`.
        folds: (num_learned,); the fold that held each of them out.
    """

    positions: NDArray[np.int64]
    wrong: NDArray[np.float64]
    suggested: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    noise_rate: float
    learned_from: NDArray[np.int64]
    folds: NDArray[np.int64]

    @property
    def named(self) -> NDArray[np.int64]:
        """Rows of the pictures worth a look, the most suspicious first."""
        order = np.argsort(-self.wrong, kind="stable")
        return np.asarray(order[self.wrong[order] >= NAMED_FROM])


def check_labels(
    embeddings: NDArray[Any], labels: NDArray[np.int64], groups: NDArray[np.int64], *, num_classes: int, seed: int
) -> LabelCheck | None:
    """Judges every label; None where fewer than two classes have `FEWEST_PER_CLASS` pictures.

    Args:
        embeddings: (num_images, embedding_size), of any float type; may be a file larger than the memory.
        labels: (num_images,).
        groups: (num_images,); pictures of one group (copies) are held out together.
        num_classes: length of class_names.
        seed: of the folds.
    """
    sizes = np.bincount(labels[np.unique(groups, return_index=True)[1]], minlength=num_classes)
    large = np.flatnonzero(sizes >= FEWEST_PER_CLASS)
    positions = np.flatnonzero(np.isin(labels, large))
    if len(large) < 2:
        return None
    y, g = np.searchsorted(large, labels[positions]), groups[positions]
    sample = stratified_sample(y, g, at_most=MOST_LEARNED_FROM, fewest=FEWEST_PER_CLASS, seed=seed)
    x, y_sample = np.asarray(embeddings[positions[sample]], np.float32), y[sample]
    folds = fold_numbers(y_sample, g[sample], num_folds=_NUM_FOLDS, seed=seed)
    scaling = Scaling.of(x)
    leading = scaling.leading(_AXES_AT_FIRST)
    found = cross_validate(x, y_sample, folds, num_classes=len(large), strengths=_STRENGTHS, scaling=leading)
    wrong = _wrong(found.out_of_fold, y_sample, _confident_noise(found.out_of_fold, y_sample))
    strength = found.strengths[found.chosen] * _LOOSER
    heads: list[LinearHead] = []
    for limit in _LEFT_OUT_FROM:
        is_kept = wrong < limit
        if not all((is_kept & (folds != fold)).any() for fold in range(_NUM_FOLDS)):
            is_kept[:] = True  # nothing is believed: labels without sense
        learned_from = (folds[:, None] != np.arange(_NUM_FOLDS)) & is_kept[:, None]
        heads = fit_subsets(
            x, y_sample, learned_from, num_classes=len(large), strength=strength, tolerance=1e-5, scaling=scaling, start=heads
        )
        logits = np.empty((len(folds), len(large)), np.float32)
        for fold, head in enumerate(heads):
            logits[folds == fold] = head.logits(x[folds == fold])
        sharpness = _sharpness(logits[is_kept], y_sample[is_kept])
        wrong, _ = _posterior(softmax(sharpness * logits), y_sample)
    compact = np.empty((len(positions), len(large)), np.float32)
    for start in range(0, len(positions), MOST_LEARNED_FROM):
        rows = slice(start, start + MOST_LEARNED_FROM)
        others = np.asarray(embeddings[positions[rows]], np.float32)
        compact[rows] = np.mean([softmax(sharpness * head.logits(others)) for head in heads], axis=0)
    compact[sample] = softmax(sharpness * logits)
    wrong, noise_rate = _posterior(compact, y)
    probabilities = np.zeros((len(positions), num_classes), np.float32)
    probabilities[:, large] = compact
    compact[np.arange(len(y)), y] = -1.0
    return LabelCheck(positions, wrong, large[compact.argmax(axis=1)], probabilities, noise_rate, sample, folds)


def _confident_noise(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The share of labels off the diagonal of the confident joint (Northcutt et al. 2021, section 3.1).

    A picture counts for the most probable of those classes whose probability is at least the mean it has in that class.
    """
    num_classes = probabilities.shape[1]
    counts = np.bincount(labels, minlength=num_classes)
    means = np.array([probabilities[labels == c, c].mean() for c in range(num_classes)])
    confident = np.where(probabilities >= means, probabilities, -1.0)
    is_counted = confident.max(axis=1) >= 0
    joint = np.zeros((num_classes, num_classes))
    np.add.at(joint, (labels[is_counted], confident.argmax(axis=1)[is_counted]), 1.0)
    right = np.diag(joint) / np.maximum(joint.sum(axis=1), 1.0)
    return float(1.0 - right @ counts / counts.sum())


def _sharpness(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The factor on the logits with the smallest log loss."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(lambda t: log_loss(softmax(np.exp(t) * logits), labels), bounds=(-1.5, 2.0), method="bounded")
    return float(np.exp(found.x))


def _posterior(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> tuple[NDArray[np.float64], float]:
    """Probability of each label to be wrong, and the share of wrong ones that explains it best."""
    rate = _FIRST_GUESS
    for _ in range(200):
        wrong = _wrong(probabilities, labels, rate)
        before, rate = rate, float(np.clip(wrong.mean(), *_RATES))
        if abs(rate - before) < 1e-6:
            break
    return wrong, rate


def _wrong(probabilities: NDArray[np.float32], labels: NDArray[np.int64], rate: float) -> NDArray[np.float64]:
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    rate = float(np.clip(rate, *_RATES))
    wrong = (1.0 - own) * rate / (probabilities.shape[1] - 1)
    return np.asarray(wrong / (wrong + own * (1.0 - rate)))
