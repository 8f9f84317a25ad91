import fieldguide

run = fieldguide.train("dataset/")
print(run.scores["test"])  # accuracy, interval, num_images, ...
classifier = fieldguide.load(run.directory)
print(classifier.predict("photo.jpg").class_name)
model = classifier.to_keras()  # a plain keras.Model: uint8 pixels -> logits
fieldguide.plots.confusion_matrix(fieldguide.evaluate(run.directory)).savefig("confusion.png")
