import keras

import fieldguide


def build(image_size, num_classes):
    pixels = keras.Input((*image_size, 3))  # RGB, 0 to 255
    x = keras.layers.Rescaling(1 / 255)(pixels)
    x = keras.layers.Conv2D(16, 3, strides=2, activation="relu")(x)
    x = keras.layers.SeparableConv2D(32, 3, activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(pixels, keras.layers.Dense(num_classes)(x))


settings = fieldguide.Classic(image_size=(48, 48), epochs=5, min_steps=20)
run = fieldguide.train("dataset/", model=build, recipe=settings, out="runs/own")
model = fieldguide.load("runs/own").to_keras(build)
