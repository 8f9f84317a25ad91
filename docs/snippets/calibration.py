from itertools import pairwise

import fieldguide

evaluation = fieldguide.evaluate("runs/dataset")
confidence = evaluation.probabilities.max(axis=1)
for low, high in pairwise([0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]):
    inside = (confidence > low) & (confidence <= high)
    if inside.any():
        said, was = confidence[inside].mean(), evaluation.correct[inside].mean()
        print(f"{inside.sum():5} answers, {said:.0%} sure on average: {was:.0%} right")
