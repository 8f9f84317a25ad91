import fieldguide

SURE = 0.9

for prediction in fieldguide.predict("runs/dataset", "photos/"):
    if prediction.error is not None:
        continue
    if prediction.none_of_these or prediction.probability < SURE:
        print("please look at", prediction.path, "- perhaps", prediction.nearest_class)
