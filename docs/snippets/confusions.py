import numpy as np

import fieldguide
from fieldguide.evaluation import metrics

evaluation = fieldguide.evaluate("runs/dataset")
counts = metrics.confusion_matrix(evaluation)
np.fill_diagonal(counts, 0)
for cell in counts.argsort(axis=None)[::-1][:10]:
    true, said = np.unravel_index(cell, counts.shape)
    if counts[true, said]:
        names = evaluation.class_names
        print(f"{names[true]} called {names[said]}: {counts[true, said]}")
print("right class among the first two:", metrics.top_k_accuracy(evaluation, 2))
