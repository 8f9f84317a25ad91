import fieldguide

for prediction in fieldguide.predict("runs/dataset", ["photo.jpg", "photos/"]):
    if prediction.error is not None:
        print(f"{prediction.path} could not be read: {prediction.error}")
    elif prediction.none_of_these:
        print(f"{prediction.path}: none of these, nearest {prediction.nearest_class}")
    else:
        print(f"{prediction.path}: {prediction.class_name}, {prediction.probability:.1%}")
