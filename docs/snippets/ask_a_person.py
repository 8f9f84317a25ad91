import fieldguide

SURE = 0.9

for prediction in fieldguide.predict("runs/dataset", "photos/"):
    if prediction.error is None and (prediction.none_of_these or prediction.probability < SURE):
        print("please look at", prediction.path, "- perhaps", prediction.nearest_class)
