import fieldguide

run = fieldguide.train("dataset/")
test = run.scores["test"]
low, high = test["interval"]
print(f"{test['accuracy']:.1%} right, 95 % interval {low:.1%} to {high:.1%}")

classifier = fieldguide.load(run.directory)
prediction = classifier.predict("photo.jpg")
print(prediction.class_name, prediction.probability)
