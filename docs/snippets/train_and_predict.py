import fieldguide

run = fieldguide.train("dataset/")
test = run.scores["test"]
print(f"{test['accuracy']:.1%} of {test['num_images']} test pictures, 95 % interval", test["interval"])

classifier = fieldguide.load(run.directory)
prediction = classifier.predict("photo.jpg")
print(prediction.class_name, prediction.probability)
