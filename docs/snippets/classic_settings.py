import fieldguide

recipe = fieldguide.Classic(
    image_size=(48, 48),
    filters=(8, 16),
    units=32,
    epochs=5,
    min_steps=20,
    horizontal_flip=False,  # left and right matter, as for digits and letters
)
run = fieldguide.train("dataset/", recipe=recipe, out="runs/small-classic")
fieldguide.plots.curves(run).savefig("curves.png")
