import fieldguide

for prediction in fieldguide.predict("runs/dataset", ["photo.jpg", "photos/"]):
    if prediction.error is not None:
        print(f"{prediction.path} could not be read: {prediction.error}")
    else:
        print(f"{prediction.path}: {prediction.class_name}, {prediction.probability:.1%}")
