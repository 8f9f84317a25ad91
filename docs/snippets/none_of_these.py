import fieldguide

run = fieldguide.train("dataset/", reject=0.02, out="runs/strict")
print(run.certainty["near_strangers"])  # how often a class left out was caught
print(run.scores["test"]["answered"])  # share answered, accuracy among them

for prediction in fieldguide.predict(run.directory, "photos/"):
    if prediction.none_of_these:
        print(prediction.path, "comes nearest to", prediction.nearest_class)
