import fieldguide

recipe = fieldguide.Scratch(
    image_size=(48, 48),
    grow_from=0.5,
    filters=(8, 16, 32),
    blocks=(1, 1, 1),
    epochs=5,
    min_steps=20,
    horizontal_flip=False,  # left and right matter, as for digits and letters
)
run = fieldguide.train("dataset/", recipe=recipe, out="runs/small-scratch")
print(run.scores["val"], run.notes)  # None, and why
