import keras
import numpy as np

import fieldguide

model = fieldguide.load("runs/dataset").to_keras()  # a plain keras.Model
pixels = np.zeros((1, 224, 224, 3), np.uint8)
probabilities = keras.ops.softmax(model(pixels))  # the model itself ends in logits
print(probabilities.shape)
