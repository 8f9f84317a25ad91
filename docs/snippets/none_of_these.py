import fieldguide

run = fieldguide.train("dataset/", reject=0.02, out="runs/strict")
print(run.certainty["near_strangers"])  # each class left out in turn: how often it was caught
print(run.scores["test"]["answered"])  # share answered, and the accuracy among them

for prediction in fieldguide.predict(run.directory, "photos/"):
    if prediction.none_of_these:
        print(prediction.path, "is none of these; nearest:", prediction.nearest_class, prediction.novelty)
