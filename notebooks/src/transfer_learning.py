# %% [markdown]
# # Transfer learning: start from a network that has seen a million pictures
#
# A CNN that learns from nothing needs many pictures before its first layers know what an edge or a texture is. *Transfer learning*
# takes those layers from a network that has learned them already, from 1.3 million photographs in 1,000 classes (ImageNet), and only
# learns what is new. The other notebook, *CNN for Image Classification*, builds a CNN from nothing; read it first.
#
# 1. Setup and pictures
# 2. What the frozen network sees: embeddings
# 3. A head of your own, in Keras
# 4. The same with fieldguide, and how many pictures it takes
# 5. None of these: pictures of something else
# 6. Fine-tuning: let the last block learn as well
# 7. Exercises
#
# Everything runs offline and without a GPU: the weights of the pretrained network (EfficientNet-Lite0) come with the package.

# %% [markdown]
# ## 1. Setup and pictures

# %%
# Only where the package is missing and there is no clone, as in Colab: what pip can install, such
# as a wheel that you uploaded, or a git+https address.
SOURCE = ""

import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
from pathlib import Path

if sys.version_info < (3, 11):
    raise RuntimeError(
        f"Python 3.11 or newer is needed; this kernel runs {platform.python_version()}."
    )
if importlib.util.find_spec("fieldguide") is None:
    folders = [Path.cwd(), *Path.cwd().parents]
    clone = next((folder for folder in folders if (folder / "src" / "fieldguide").is_dir()), None)
    if not (SOURCE or clone):
        raise RuntimeError("fieldguide is not installed: fill in SOURCE above and run again.")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", SOURCE or str(clone)], check=True
    )
    importlib.invalidate_caches()
for module, package in {"PIL": "pillow", "numpy": "numpy"}.items():
    # What was imported before pip replaced it stays the old one until the kernel starts anew.
    # Colab imports Pillow at its start.
    loaded = getattr(sys.modules.get(module), "__version__", None)
    if loaded not in (None, importlib.metadata.version(package)):
        raise RuntimeError(
            f"An older {package} is loaded. Restart the kernel once, then run all cells."
        )

import fieldguide

fieldguide.import_tensorflow()  # without the lines it prints on its way up; errors still show
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from keras import layers

SEED = 0
keras.utils.set_random_seed(SEED)
print(
    f"Python {platform.python_version()}, TensorFlow {tf.__version__}, "
    f"Keras {keras.__version__}, fieldguide {fieldguide.__version__}"
)
print(
    f"Running on: the processor, {os.cpu_count()} cores; GPUs: {len(tf.config.list_physical_devices('GPU'))}"
)

# %% tags=["parameters"]
DATASET = "digits"  # the only line to change: the path of your own folder, such as "dataset"

# %% [markdown]
# The embedded digits are a hard case for transfer learning: the pretrained network has seen photographs, never handwriting. It will
# be interesting how far it gets. On photographs it is at home; the table in section 4 says what that is worth.

# %%
is_digits = DATASET == "digits"
if is_digits:
    DATASET = fieldguide.write_digits("dataset/digits")
IMAGE_SIZE = (
    (96, 96) if is_digits else (224, 224)
)  # 224 px is what the network was trained with; digits need less

pictures = fieldguide.load_pictures(DATASET, image_size=IMAGE_SIZE, seed=SEED)
class_names = pictures.class_names
parts = {"training": pictures.train, "validation": pictures.val, "test": pictures.test}
for name, part in parts.items():
    print(f"{name:10} {len(part):6,} pictures")
if not len(pictures.test):
    raise RuntimeError(
        "There is no test part. Put some pictures of each class into test_set/, and run again from here."
    )

# %% [markdown]
# ## 2. What the frozen network sees: embeddings
#
# Cut off the last layer of the pretrained network, the one that names ImageNet's classes. What comes out below it is a row of 1,280
# numbers per picture, its **embedding**: how much of this texture, that shape, such a colour. The network stays *frozen*: its weights
# do not change, so each picture has to go through it only once.
#
# One line trains on them; it makes the classifier whose network we borrow here. Section 4 comes back to it.

# %%
run = fieldguide.train(
    DATASET, recipe=fieldguide.Transfer(image_size=IMAGE_SIZE), seed=SEED, out="runs/transfer"
)
classifier = fieldguide.load(run.directory)


def embed(pixels):
    """(pictures, height, width, 3), 0 to 255 -> embeddings (pictures, 1280)."""
    return classifier.engine().embed(pixels)


embeddings = {name: embed(part.pixels) for name, part in parts.items()}
for name, values in embeddings.items():
    print(f"{name:10} {values.shape}")

# %% [markdown]
# Pictures that the network finds alike have embeddings that point in nearly the same direction. For three test pictures (left), the
# training pictures with the nearest embeddings:


# %%
def unit(values):
    return values / np.linalg.norm(values, axis=1, keepdims=True)


middle = embeddings["training"].mean(axis=0)  # what all pictures have in common says nothing
alike = (
    unit(embeddings["test"] - middle) @ unit(embeddings["training"] - middle).T
)  # cosine of the angle: 1 is the same direction
rng = np.random.default_rng(SEED)
queries = rng.choice(len(pictures.test), size=3, replace=False)
figure, grid = plt.subplots(3, 8, figsize=(9, 4), layout="constrained")
for row, query in zip(grid, queries, strict=True):
    nearest = np.argsort(-alike[query])[:7]
    shown = [(pictures.test.pixels[query], "asked: " + class_names[pictures.test.labels[query]])]
    shown += [(pictures.train.pixels[i], class_names[pictures.train.labels[i]]) for i in nearest]
    for axes, (image, title) in zip(row, shown, strict=True):
        axes.imshow(image)
        axes.set_title(title, fontsize=8)
        axes.axis("off")
plt.show()

# %% [markdown]
# 1,280 numbers cannot be drawn. Their two directions of largest spread (*principal components*) can, and show whether the classes lie
# apart already, before anything was learned from their labels:

# %%
_, _, directions = np.linalg.svd(embeddings["training"] - middle, full_matrices=False)
flat = (embeddings["training"] - middle) @ directions[:2].T  # (pictures, 2)
figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
for label, name in enumerate(class_names[:10]):
    mine = pictures.train.labels == label
    axes.scatter(*flat[mine].T, s=8, label=name)
axes.set(xticks=[], yticks=[])
axes.legend(bbox_to_anchor=(1, 1), frameon=False)
plt.show()

# %% [markdown]
# ## 3. A head of your own, in Keras
#
# On top of the embeddings one dense layer is enough: one row of 1,280 weights per class. Because the embeddings are computed already,
# an epoch takes a moment. Each number is first brought to mean 0 and spread 1, by what was measured on the *training* part.

# %%
spread = embeddings["training"].std(axis=0) + 1e-6
inputs = {
    name: ((values - middle) / spread).astype("float32") for name, values in embeddings.items()
}

head = keras.Sequential(
    [
        keras.Input((embeddings["training"].shape[1],)),  # (batch, 1280)
        layers.Dense(
            len(class_names), activation="softmax", kernel_regularizer=keras.regularizers.L2(0.003)
        ),  # (batch, classes)
    ]
)
head.compile(
    optimizer=keras.optimizers.Adam(0.001),
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
    jit_compile=False,
)
train_batches = tf.data.Dataset.from_tensor_slices((inputs["training"], pictures.train.labels))
val_batches = tf.data.Dataset.from_tensor_slices((inputs["validation"], pictures.val.labels)).batch(
    64
)
history = head.fit(
    train_batches.shuffle(len(pictures.train), seed=SEED).batch(32),
    validation_data=val_batches,
    epochs=20,
    callbacks=[
        keras.callbacks.EarlyStopping(monitor="val_loss", patience=5, restore_best_weights=True)
    ],
    shuffle=False,  # the batches come shuffled
    verbose=0,
).history

from fieldguide.evaluation.metrics import summarize


def accuracy_line(part, probabilities):
    evaluation = fieldguide.Evaluation(
        part, class_names, parts[part].labels, probabilities, parts[part].paths
    )
    score = summarize(evaluation)
    low, high = score["interval"]
    return f"{score['accuracy']:6.1%}   (95 % interval {low:.1%} to {high:.1%}, {score['num_images']:,} pictures)"


for name in parts:
    print(
        f"{name:10} accuracy {accuracy_line(name, keras.ops.convert_to_numpy(head(inputs[name], training=False)))}"
    )

# %% [markdown]
# The penalty on large weights (`L2`) matters here: 1,280 weights per class can learn a few hundred pictures by heart. Too small a
# penalty and the head follows every training picture; too large and it ignores what they have to say. Which one is right has to be
# *tried on pictures that were held out*.
#
# ## 4. The same with fieldguide, and how many pictures it takes
#
# The run of section 2 has done that: it tried a range of strengths by cross-validation (each training picture is scored by a head that did
# not learn from it) and took the best.

# %%
run

# %%
fieldguide.plots.regularisation_path(run)

# %% [markdown]
# How many pictures would have been enough? The same head, fitted on parts of the training pictures:

# %%
fieldguide.plots.learning_curve(run)

# %% [markdown]
# Where the curve still rises at its right end, more pictures will help. Where it is flat, they will not.

# %% [markdown]
# <!-- measured -->

# %% [markdown]
# ## 5. None of these: pictures of something else
#
# A softmax always names one of its classes, whatever it is shown, and often with high probability. So each run also learns how far
# from its classes' embeddings a picture of its own usually lies, and says *none of these* beyond a border. One own picture in a
# hundred, about, is turned away by mistake; that is the price. Three strangers: noise, a landscape and a flower (two sample photographs
# that come with scikit-learn).

# %%
from sklearn.datasets import load_sample_images

strangers = {"noise": rng.integers(0, 256, (128, 128, 3), dtype=np.uint8)}
strangers |= dict(
    zip(
        ["landscape", "flower"],
        (np.ascontiguousarray(i) for i in load_sample_images().images),
        strict=True,
    )
)
for name, pixels in strangers.items():
    answer = classifier.predict(pixels)
    print(
        f"{name:10} nearest class {answer.nearest_class!r} with {answer.probability:.0%}, "
        f"distance {answer.novelty:.2f} of the border: {'none of these' if answer.none_of_these else answer.class_name}"
    )

own = classifier.predict([Path(DATASET, path) for path in pictures.test.paths])
turned_away = np.mean([answer.none_of_these for answer in own])
print(f"own test pictures turned away: {turned_away:.1%} of {len(own)}")

# %% [markdown]
# This catches what is *unlike* the classes. A stranger that resembles them, another animal among cats and dogs, is often let through:
# do not rely on it where an error is dangerous.
#
# ## 6. Fine-tuning: let the last block learn as well
#
# The frozen layers were made for photographs. With a small learning rate the last ones can adapt to your pictures. Three rules:
#
# - **Fit the head first** (we have): a random head would send large, useless changes down into layers that are good already.
# - **Keep batch normalisation frozen**: a few hundred pictures are too few for new statistics.
# - **Take a small learning rate**, keep the best weights by *validation*, and go back to the frozen network if it was no better.
#
# `to_keras()` gives the classifier as a plain `keras.Model`. We cut it in two below its last block: what lies under the cut stays frozen,
# so its answers are computed once; what lies above learns. As head it gets the one of section 3, which has not seen the validation
# pictures (that of the run has: it was fitted on all of them, after cross-validation).

# %%
network = classifier.to_keras()  # (batch, height, width, 3), 0 to 255 -> (batch, classes) logits
kernel, bias = head.get_weights()
kernel = (
    kernel / spread[:, np.newaxis]
)  # it takes the embeddings as they come, so it scales them too
network.get_layer("head").set_weights([kernel, bias - middle @ kernel])
cut = network.get_layer("block16_expand_conv").input
lower, upper = keras.Model(network.input, cut), keras.Model(cut, network.output)
for layer in upper.layers:
    layer.trainable = not isinstance(layer, layers.BatchNormalization)
free = sum(int(np.prod(weight.shape)) for weight in upper.trainable_weights)
print(f"{free:,} of {network.count_params():,} weights are free to move")


def in_batches(model, values):
    batches = (values[i : i + 64] for i in range(0, len(values), 64))
    return np.concatenate(
        [keras.ops.convert_to_numpy(model(batch, training=False)) for batch in batches]
    )


below = {name: in_batches(lower, part.pixels) for name, part in parts.items()}
print(f"what comes out below the cut: {below['training'].shape}")


# %%
def probabilities(name):
    return keras.ops.convert_to_numpy(keras.ops.softmax(in_batches(upper, below[name])))


frozen = {name: probabilities(name) for name in parts}
upper.compile(
    optimizer=keras.optimizers.Adam(0.0001),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
    jit_compile=False,
)
upper.fit(
    tf.data.Dataset.from_tensor_slices((below["training"], pictures.train.labels))
    .shuffle(len(pictures.train), seed=SEED)
    .batch(32),
    validation_data=tf.data.Dataset.from_tensor_slices(
        (below["validation"], pictures.val.labels)
    ).batch(64),
    epochs=10,
    callbacks=[
        keras.callbacks.EarlyStopping(monitor="val_loss", patience=3, restore_best_weights=True)
    ],
    shuffle=False,
    verbose=2,
)
tuned = {name: probabilities(name) for name in parts}
for name in parts:
    print(f"{name:10} frozen {accuracy_line(name, frozen[name])}")
    print(f"{name:10} tuned  {accuracy_line(name, tuned[name])}")

# %% [markdown]
# (The frozen lines can differ by a few pictures from those of section 3: where the processor offers 16-bit numbers, the engine that
# computed the embeddings there uses them, while Keras computes with 32 bits.)
#
# Which one to keep is decided by the validation lines; the test lines are only reported. No picture was augmented here, because what
# lies below the cut was computed once.
#
# **The same with fieldguide.** The recipe `finetune` begins with the head of section 4 and trains *all* convolutions, with other crops
# and light in every epoch; the frozen network is kept if that names as many validation pictures rightly. Small pictures and few
# epochs are enough for a first look at digits; leave these settings out for photographs.

# %%
quick = fieldguide.Finetune(
    image_size=(64, 64), epochs=4, min_steps=0, horizontal_flip=not is_digits
)
finetuned = fieldguide.train(DATASET, recipe=quick, seed=SEED, out="runs/finetune")
finetuned

# %% [markdown]
# ## 7. Exercises
#
# **1.** Why may the embeddings be computed once, and those of a CNN that is being trained not?
#
# <details><summary>Answer</summary>
#
# The frozen network does not change, so the same picture gives the same embedding in every epoch. In a network that learns, each step
# changes the weights, and with them what every layer gives.
#
# </details>
#
# **2.** How many weights does the head of section 3 have for 10 classes?
#
# <details><summary>Answer</summary>
#
# 1,280 per class and one bias each: 1,280 x 10 + 10 = 12,810.
#
# </details>
#
# **3.** The head's inputs were scaled by mean and spread of the *training* part. Why not of all pictures?
#
# <details><summary>Answer</summary>
#
# Mean and spread of the test part would be something learned from test pictures: a small leak, but a leak. And later, for one new
# picture, there is no test part to take a mean of.
#
# </details>
#
# **4.** ImageNet contains cats and dogs. What does that mean for the test accuracy of `transfer` on photographs of cats and dogs?
#
# <details><summary>Answer</summary>
#
# The test pictures themselves were not learned from, so the accuracy holds for new photographs of cats and dogs. It does not tell how
# well transfer learning works in general: the layers were made, among other things, to tell 120 breeds of dogs apart. On tissue slides
# or engine parts expect less, and measure it.
#
# </details>
#
# **5.** Set the `L2` penalty of section 3 to 0, then to 1. What happens to training and validation accuracy?
#
# <details><summary>Answer</summary>
#
# Without a penalty the head fits the training pictures as closely as it can in the given epochs; validation gains nothing from that or
# loses. With a penalty of 1 the weights are held near zero, all probabilities are nearly equal, and both accuracies usually fall.
#
# </details>
