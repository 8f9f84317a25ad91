import io

import numpy as np
from PIL import Image

import fieldguide

classifier = fieldguide.load("runs/dataset")

picture = Image.open("photo.jpg")
from_picture = classifier.predict(picture)  # a Pillow picture

buffer = io.BytesIO()
picture.save(buffer, "PNG")
from_bytes = classifier.predict(buffer.getvalue())  # the bytes of a file, such as an upload

pixels = np.asarray(picture)  # RGB uint8 (height, width, 3): do not divide by 255
from_array = classifier.predict(pixels)

print(from_picture.class_name, from_bytes.class_name, from_array.class_name)
