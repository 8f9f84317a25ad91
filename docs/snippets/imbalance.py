import numpy as np

import fieldguide
from fieldguide.evaluation import metrics

evaluation = fieldguide.evaluate("runs/dataset")
largest = np.bincount(evaluation.labels).max() / len(evaluation.labels)
mean_recall = metrics.averages(evaluation)["macro"]["recall"]
print(f"always saying the largest class: {largest:.1%}")
print(f"accuracy:                        {metrics.accuracy(evaluation):.1%}")
print(f"mean recall over classes:        {mean_recall:.1%}")
for row in metrics.per_class(evaluation):
    print(row["class_name"], row["support"], "pictures; recall", row["recall"])
