import numpy as np
from PIL import Image

import fieldguide
from fieldguide import plots

classifier = fieldguide.load("runs/dataset")
model = classifier.to_keras()  # or any functional or sequential keras.Model of your own
height, width = classifier.image_size
picture = np.asarray(Image.open("photo.jpg").convert("RGB").resize((width, height)))

plots.filters(model).savefig("filters.png")
plots.feature_maps(model, picture).savefig("feature-maps.png")
