import numpy as np

import fieldguide
from fieldguide.evaluation import metrics

evaluation = fieldguide.evaluate("runs/dataset")
largest = np.bincount(evaluation.labels).max() / len(evaluation.labels)
print(f"always saying the largest class: {largest:.1%}")
print(f"accuracy:                        {metrics.accuracy(evaluation):.1%}")
print(f"mean recall over classes:        {metrics.averages(evaluation)['macro']['recall']:.1%}")
for row in sorted(metrics.per_class(evaluation), key=lambda row: row["recall"] or 0.0):
    print(f"{row['class_name']:10} {row['support']:5} pictures, recall {row['recall']}, precision {row['precision']}")
