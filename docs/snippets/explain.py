import fieldguide

classifier = fieldguide.load("runs/dataset")
explained = fieldguide.explain(classifier, "photo.jpg", out="why.png")
print(explained.prediction.class_name, explained.place, explained.share)
for near in explained.nearest:
    print(near.path, near.class_name, round(near.distance, 2))
