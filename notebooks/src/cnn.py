# %% [markdown]
# # CNN for Image Classification
#
# A folder of labelled pictures becomes a convolutional neural network (CNN) that names pictures it has never seen. This
# notebook goes the whole way, in plain Keras, with every step visible:
#
# 1. Setup
# 2. Load and preprocess
# 3. Build and compile
# 4. Train
# 5. Evaluate
# 6. The same with fieldguide
# 7. Save, load, predict, and seven traps
# 8. Exercises
#
# Run it from top to bottom as it stands: it learns embedded pictures of handwritten digits in about a minute or two, without a
# GPU and without a download. Then change one line, `DATASET`, and run it on pictures of your own.

# %% [markdown]
# ## 1. Setup
#
# This cell installs the package `fieldguide` where it is missing: from the clone that this notebook lies in or, in Colab, from the
# `SOURCE` that you fill in. From it we use the one function that reads pictures safely and the one that splits them fairly; the
# network itself is plain Keras.

# %%
# Only where the package is missing and there is no clone, as in Colab: what pip can install, such
# as a wheel that you uploaded, or a git+https address.
SOURCE = ""

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
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
from IPython.display import display
from keras import layers

SEED = 0
keras.utils.set_random_seed(SEED)  # the same first weights and the same order at each run

gpus = tf.config.list_physical_devices("GPU")
details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
device = ", ".join(detail.get("device_name", "a GPU") for detail in details)
print(f"Python {platform.python_version()}, TensorFlow {tf.__version__}, Keras {keras.__version__}")
print(f"fieldguide {fieldguide.__version__}")
print(f"Training on: {device or f'the processor, {os.cpu_count()} cores'}")

# %% [markdown]
# ## 2. Load and preprocess
#
# ### Your pictures
#
# Sort your pictures into one folder per class, apart for training and for testing. The names of the class folders are the names of
# the classes:
#
# ```
# dataset/
# ├── training_set/
# │   ├── cats/    cat.1.jpg, cat.2.jpg, ...
# │   └── dogs/    dog.1.jpg, dog.2.jpg, ...
# └── test_set/
#     ├── cats/    cat.4001.jpg, ...
#     └── dogs/    dog.4001.jpg, ...
# ```
#
# (`train` / `val` / `test` work as well; so does one folder of class folders, which is then split for you.) Put the folder beside
# this notebook and name it in the next cell.

# %% tags=["parameters"]
DATASET = "digits"  # the only line to change: the path of your own folder, such as "dataset"

# %% [markdown]
# In Colab the folder has to be uploaded first. Make a zip of it on your computer; the next cell asks for it when `DATASET` names a
# folder that is not there. Everywhere else it does nothing.

# %% tags=["colab"]
if "google.colab" in sys.modules and DATASET != "digits" and not Path(DATASET).exists():
    from google.colab import files

    for name in files.upload():
        shutil.unpack_archive(name, DATASET)
    inside = [folder for folder in Path(DATASET).iterdir() if folder.name[0] not in "._"]
    if len(inside) == 1:  # the zip has one folder around everything
        DATASET = str(inside[0])

# %%
is_digits = DATASET == "digits"
if is_digits:
    DATASET = fieldguide.write_digits(
        "dataset/digits"
    )  # the embedded pictures, written as a folder like the one above

IMAGE_SIZE = (
    (32, 32) if is_digits else (96, 96)
)  # (height, width) in pixels that every picture is resized to
MIRROR = not is_digits  # a mirrored cat is still a cat; a mirrored 2 is no digit
EPOCHS = 15 if is_digits else 40  # how often, at most, every training picture is seen

for part in sorted(folder for folder in Path(DATASET).iterdir() if folder.is_dir()):
    classes = sorted(folder for folder in part.iterdir() if folder.is_dir())
    print(f"{part.name}/")
    for folder in classes[:4]:
        print(f"    {folder.name + '/':12} {sum(1 for _ in folder.iterdir()):5,} files")
    if len(classes) > 4:
        print(f"    ... {len(classes)} folders in all")

# %% [markdown]
# ### Look before you learn
#
# A network learns whatever is in the folder, mistakes included. The audit opens every file and tells what it finds; it changes
# nothing. Seven faults were planted in the embedded digits on purpose: a damaged file, two copies of a training picture, a training
# picture that is in the test part as well, and three wrong labels. Find them in the list below. The copies are certain; the labels
# are pictures to *look at first*: the three wrong ones head the list, followed by some that are right and hard to read.

# %%
audit = fieldguide.audit(DATASET)
audit

# %% [markdown]
# ### Three parts
#
# - **Training** pictures are what the network learns from.
# - **Validation** pictures, 15 % taken out of the training part, are what we *choose* by: when to stop, which weights to keep.
# - **Test** pictures are looked at once, at the end. They were used for nothing, so they tell how good the network is on new ones.
#
# `load_pictures` reads each file, turns it upright, resizes it and divides the parts: every class in its proportion, copies of one
# picture on one side. Pictures stay whole numbers from 0 to 255; scaling them is the network's own first layer (section 7 says why).

# %%
pictures = fieldguide.load_pictures(DATASET, image_size=IMAGE_SIZE, seed=SEED)
class_names = pictures.class_names  # in alphabetical order; a label is a position in this list
parts = {"training": pictures.train, "validation": pictures.val, "test": pictures.test}

for name, part in parts.items():
    print(
        f"{name:10}  pictures {part.pixels.shape} {part.pixels.dtype}   labels {part.labels.shape}"
    )
print("classes:", ", ".join(f"{label} = {name}" for label, name in enumerate(class_names[:10])))
if not len(pictures.test):
    raise RuntimeError(
        "There is no test part. Put some pictures of each class into test_set/, and run again from here."
    )

# %%
figure, axes = plt.subplots(figsize=(9, 2.6), layout="constrained")
below = np.zeros(len(class_names))
for name, part in parts.items():
    counts = np.bincount(part.labels, minlength=len(class_names))
    axes.bar(class_names, counts, bottom=below, label=name)
    below += counts
axes.set_ylabel("pictures")
axes.tick_params(axis="x", rotation=45 if len(class_names) > 5 else 0)
axes.legend(bbox_to_anchor=(1, 1), frameon=False)
plt.show()

# %% [markdown]
# Do the classes have about as many pictures each? If one has far more than the others, a network that always answers with that
# class already looks good in accuracy; look at the table per class in section 5 then.
#
# Some training pictures, with their labels:


# %%
def show(images, titles, columns=9):
    """Draws pictures in rows, each with a title."""
    rows = -(-len(images) // columns)
    _, grid = plt.subplots(
        rows, columns, figsize=(columns, 1.3 * rows), layout="constrained", squeeze=False
    )
    for axes in grid.flat:
        axes.axis("off")
    for axes, image, title in zip(grid.flat, images, titles, strict=False):
        axes.imshow(image)
        axes.set_title(title, fontsize=8)
    plt.show()


rng = np.random.default_rng(SEED)
chosen = rng.choice(len(pictures.train), size=18, replace=len(pictures.train) < 18)
show(pictures.train.pixels[chosen], [class_names[label] for label in pictures.train.labels[chosen]])

# %% [markdown]
# ### Augmentation: more pictures than you have
#
# A cat a little to the left, a little turned or a little darker is still a cat. Showing each picture differently every time keeps
# the network from learning the pictures by heart. These changes belong to **training only**: they are applied to the training
# batches and are no part of the network, so that what is saved later never changes a picture it is asked about.

# %%
augmentation = keras.Sequential(
    [
        layers.RandomTranslation(
            0.08, 0.08, fill_mode="nearest", seed=SEED
        ),  # up to 8 % up, down, left, right
        layers.RandomRotation(10 / 360, fill_mode="nearest", seed=SEED),  # up to 10 degrees
        layers.RandomZoom(0.1, fill_mode="nearest", seed=SEED),  # up to 10 % larger or smaller
        layers.RandomContrast(0.2, value_range=(0, 255), seed=SEED),
    ]
    + ([layers.RandomFlip("horizontal", seed=SEED)] if MIRROR else [])
)


def augment(images, labels):
    changed = augmentation(tf.cast(images, tf.float32), training=True)
    return tf.cast(tf.round(changed), tf.uint8), labels


train_batches = (
    tf.data.Dataset.from_tensor_slices((pictures.train.pixels, pictures.train.labels))
    .shuffle(len(pictures.train), seed=SEED)  # another order in every epoch
    .batch(32)
    .map(augment)
    .prefetch(2)  # the next batches are made while this one is learned from
)
# Validation pictures are shown as they are.
val_batches = tf.data.Dataset.from_tensor_slices((pictures.val.pixels, pictures.val.labels)).batch(
    64
)

first = pictures.train.pixels[chosen[:2]]
changed = [augment(first, None)[0].numpy() for _ in range(8)]
show(
    [image for i in range(2) for image in (first[i], *(batch[i] for batch in changed))],
    [title for _ in range(2) for title in ("original", *["changed"] * 8)],
)

# %% [markdown]
# ## 3. Build and compile
#
# The network looks at small patches first and at larger and larger parts of the picture as it goes on:

# %%
model = keras.Sequential(
    [
        keras.Input((*IMAGE_SIZE, 3), dtype="uint8"),  # (batch, height, width, 3), 0 to 255
        layers.Rescaling(1 / 127.5, offset=-1),  # the same shape, -1 to 1
        # Block 1: 16 filters
        layers.Conv2D(16, 3, padding="same", use_bias=False),  # (batch, height, width, 16)
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.MaxPooling2D(),  # (batch, height / 2, width / 2, 16)
        # Block 2: 32 filters
        layers.Conv2D(32, 3, padding="same", use_bias=False),  # (batch, height / 2, width / 2, 32)
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.MaxPooling2D(),  # (batch, height / 4, width / 4, 32)
        # Block 3: 64 filters
        layers.Conv2D(64, 3, padding="same", use_bias=False),  # (batch, height / 4, width / 4, 64)
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.MaxPooling2D(),  # (batch, height / 8, width / 8, 64)
        # From maps to classes
        layers.Flatten(),  # (batch, height / 8 * width / 8 * 64)
        layers.Dense(128, activation="relu"),  # (batch, 128)
        layers.Dropout(0.5),
        layers.Dense(len(class_names), activation="softmax"),  # (batch, classes), sums to 1
    ],
    name="cnn",
)
model.compile(
    optimizer=keras.optimizers.Adam(learning_rate=0.001),
    loss="sparse_categorical_crossentropy",  # the labels are whole numbers, not one-hot rows
    metrics=["accuracy"],
    jit_compile=False,  # the XLA compiler makes convolutions slower on a processor, not faster
)
model.summary()

# %% [markdown]
# Why each layer is there:
#
# | layer | what it does | why |
# |---|---|---|
# | `Rescaling` | 0 ... 255 becomes -1 ... 1 | Networks learn best from small numbers around zero. Inside the network it cannot be forgotten later. |
# | `Conv2D(16, 3)` | 16 filters of 3 x 3 pixels slide over the picture; each answers where it finds its pattern | The same pattern is found wherever it is, with few weights: the first layer has 3 x 3 x 3 x 16 = 432. |
# | `BatchNormalization` | brings each filter's answers to mean 0 and spread 1, then to a mean and spread of its own choice | Training is faster and less touchy about the learning rate. It has a shift of its own, so the convolution needs no bias. |
# | `ReLU` | negative answers become 0 | Without something that is not a straight line, several layers could do no more than one. |
# | `MaxPooling2D` | keeps the largest of each 2 x 2 answers | Half the height and width: less to compute, and the next filters see twice as far. |
# | `Flatten` | one row of numbers per picture | A dense layer takes rows. |
# | `Dense(128)` | combines all answers, wherever they were | The patterns found become evidence for classes. |
# | `Dropout(0.5)` | while training, sets a random half of the values to 0 | No value can rely on another one being there; that makes learning by heart harder. Does nothing when predicting. |
# | `Dense(..., softmax)` | one number per class, turned into probabilities | The largest is the answer. |
#
# **Why three blocks?** Each one doubles the filters and halves height and width: the network trades *where* for *what*.
# **Why is the loss not the accuracy?** Accuracy jumps; the cross-entropy, `-log(probability of the true class)`, changes smoothly, and
# training needs a slope to go down.

# %% [markdown]
# ## 4. Train
#
# In each epoch the network sees every training picture once, in batches of 32, and after each batch moves its weights a little
# downhill. After each epoch it is tried on the validation pictures. The weights of the epoch with the lowest validation loss are
# kept; when ten epochs in a row were no better, training stops. You may stop it yourself at any time (the stop button): the best
# weights so far are kept as well.

# %%
Path("runs").mkdir(exist_ok=True)
best_weights = "runs/cnn-best.weights.h5"
callbacks = [
    keras.callbacks.ModelCheckpoint(
        best_weights, monitor="val_loss", save_best_only=True, save_weights_only=True
    ),
    keras.callbacks.EarlyStopping(monitor="val_loss", patience=10),
    # Smaller steps when it gets no better:
    keras.callbacks.ReduceLROnPlateau(monitor="val_loss", factor=0.3, patience=3),
]
try:
    model.fit(
        train_batches,
        validation_data=val_batches,
        epochs=EPOCHS,
        callbacks=callbacks,
        shuffle=False,  # the batches come shuffled
        verbose=2,  # a line per epoch
    )
except KeyboardInterrupt:
    print("Stopped by hand.")
model.load_weights(best_weights)

history = model.history.history
best_epoch = int(np.argmin(history["val_loss"]))
best_accuracy = history["val_accuracy"][best_epoch]
print(f"The weights of epoch {best_epoch + 1} are used: validation accuracy {best_accuracy:.1%}.")

# %%
figure, panels = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
epochs = range(1, len(history["loss"]) + 1)
for axes, name in zip(panels, ["loss", "accuracy"], strict=True):
    axes.plot(epochs, history[name], "o-", markersize=3, label="training")
    axes.plot(epochs, history["val_" + name], "s-", markersize=3, label="validation")
    axes.axvline(best_epoch + 1, color="gray", linestyle="--", linewidth=1, label="kept")
    axes.set_xlabel("epoch")
    axes.set_title(name)
    axes.legend(frameon=False)
plt.show()

# %% [markdown]
# How to read the curves: while both losses fall, the network is still learning. Where the training loss goes on falling and the
# validation loss turns up, it starts to learn the training pictures by heart (*overfitting*). Training accuracy can even lie
# *below* validation accuracy: it is measured on augmented pictures, with dropout at work, while the weights are still moving.
#
# What the first convolution has learned, and what the network makes of one picture on its way:

# %%
fieldguide.plots.feature_maps(model, pictures.test.pixels[0])

# %% [markdown]
# ## 5. Evaluate
#
# **Accuracy** is the share of pictures whose most probable class is the right one. It is measured on a finite number of pictures, so
# it comes with an **interval**: were the network tried on new pictures of the same kind, its true accuracy would lie in an interval
# made this way in 95 of 100 cases. With 400 test pictures it is a few per cent wide; differences smaller than that mean nothing.

# %%
from fieldguide.evaluation.metrics import summarize


def predict(network, pixels):
    """Probabilities, (pictures, classes), of pixels, (pictures, height, width, 3)."""
    batches = [pixels[i : i + 64] for i in range(0, len(pixels), 64)]  # to spare memory
    # training=False: no dropout, and batch normalisation uses the mean and spread it has stored.
    answers = [network(batch, training=False) for batch in batches]
    return np.concatenate([keras.ops.convert_to_numpy(answer) for answer in answers])


def evaluate(network, part, name):
    """The network's answers on one part, as a record that plots and tables are made from."""
    return fieldguide.Evaluation(
        name, class_names, part.labels, predict(network, part.pixels), part.paths
    )


def accuracy_line(evaluation):
    score = summarize(evaluation)
    low, high = score["interval"]
    return f"{score['accuracy']:6.1%}   (95 % interval {low:.1%} to {high:.1%}, {score['num_images']:,} pictures)"


evaluations = {name: evaluate(model, part, name) for name, part in parts.items()}
for name, evaluation in evaluations.items():
    print(f"{name:10} accuracy {accuracy_line(evaluation)}")

# %% [markdown]
# The training score flatters, because those are the pictures it has learned. The validation score flatters a little, because we
# chose the weights by it. The test score is the one to tell others. For each class:

# %%
test = evaluations["test"]
test

# %% [markdown]
# *Precision* of a class: of the pictures called so, the share that is. *Recall*: of the pictures that are, the share called so. *F1*
# is their harmonic mean. The **confusion matrix** says which class was taken for which; right answers lie on its diagonal.

# %%
fieldguide.plots.confusion_matrix(test)

# %% [markdown]
# Pictures it got wrong, the worst first (each with the predicted class and its probability), and pictures it got right:

# %%
files = {path: (pictures.root / path).read_bytes() for path in pictures.test.paths}
if test.correct.all():
    print("Every test picture was classified correctly.")
else:
    display(fieldguide.plots.example_predictions(test, files, correct=False, count=8))

# %%
if test.correct.any():
    display(fieldguide.plots.example_predictions(test, files, correct=True, count=8))

# %% [markdown]
# ## 6. The same with fieldguide
#
# Three lines train the textbook CNN and a pretrained network on the same split, evaluate both and write a report for each that opens
# in a browser. `classic` is a network like the one above, with a learning rate schedule and averaged weights. `transfer` starts from
# a network that has already learned from a million photographs (ImageNet) and only learns the last layer.

# %%
settings = fieldguide.Classic(
    image_size=IMAGE_SIZE, horizontal_flip=MIRROR, epochs=EPOCHS, max_rotation_degrees=10.0
)
classic = fieldguide.train(DATASET, recipe=settings, seed=SEED, out="runs/classic")
transfer = fieldguide.train(DATASET, recipe="transfer", seed=SEED, out="runs/transfer")

# %%
classic

# %%
transfer

# %% [markdown]
# All three networks were scored on the same test pictures. Which one is ahead depends on the pictures: the pretrained network knows
# photographs, and handwritten digits look like nothing it has ever seen. The table below shows the other case.

# %%
runs = {
    "classic": fieldguide.evaluate(classic.directory),
    "transfer": fieldguide.evaluate(transfer.directory),
}
assert all(set(evaluation.paths) == set(test.paths) for evaluation in runs.values())
for name, evaluation in {"this notebook": test, **runs}.items():
    print(f"{name:13} {accuracy_line(evaluation)}")

# %% [markdown]
# ### Where did it look?
#
# A network can be right for the wrong reason: a watermark, a background. Both networks end in sums over the places of the picture,
# so that each answer can be taken apart exactly: how much did each place speak for the class? `explain` draws it, says it in words,
# and names the training pictures that the network finds most alike.

# %%
picture = Path(DATASET, pictures.test.paths[0])
for run in (classic, transfer):
    display(fieldguide.explain(run.directory, picture))

# %% [markdown]
# <!-- measured -->

# %% [markdown]
# ## 7. Save, load, predict, and seven traps
#
# What is saved must be enough to use the network without this notebook: its layers, its weights, and **the names of the classes in
# the order of its outputs**, which Keras does not keep.

# %%
model.save("runs/cnn.keras")
Path("runs/cnn-classes.json").write_text(json.dumps(class_names), encoding="utf-8")

again = keras.saving.load_model("runs/cnn.keras")
names = json.loads(Path("runs/cnn-classes.json").read_text(encoding="utf-8"))
difference = np.abs(predict(again, pictures.test.pixels) - test.probabilities).max()
print(f"The largest difference of a probability after loading: {difference:.1e}")

# %% [markdown]
# **Your own picture.** Put its path into `PICTURE`. It goes through the same decoder and the same resize as the training pictures did.

# %%
from fieldguide.data.decoding import load as read_picture

PICTURE = Path(DATASET, pictures.test.paths[0])  # or the path of a picture of your own

pixels = read_picture(Path(PICTURE).read_bytes(), IMAGE_SIZE)  # (height, width, 3), 0 to 255
probabilities = predict(again, pixels[np.newaxis])[0]  # a batch of one picture in, one row out
for label in np.argsort(-probabilities)[:3]:
    print(f"{names[label]:12} {probabilities[label]:.1%}")

# %% [markdown]
# With fieldguide the names, the size and the decoder travel with the network:

# %%
fieldguide.load(transfer.directory).predict(PICTURE)

# %% [markdown]
# ### Trap 1: the forgotten rescale
#
# Many tutorials divide by 255 *outside* the network (`ImageDataGenerator(rescale=1./255)`) and then predict a picture that was not
# divided. No error is raised; the answers are wrong. Here is our network without its first layer, fed both ways, and the whole
# network fed with pictures that somebody had already divided:

# %%
without_rescaling = keras.Sequential([keras.Input((*IMAGE_SIZE, 3)), *model.layers[1:]])
images, labels = pictures.test.pixels.astype("float32"), pictures.test.labels


def share_right(network, inputs):
    return float((predict(network, inputs).argmax(axis=1) == labels).mean())


print(
    f"rescaled as in training:             {share_right(without_rescaling, images / 127.5 - 1):.1%} right"
)
print(f"the rescale forgotten:               {share_right(without_rescaling, images):.1%} right")
print(f"divided by 255, then rescaled again: {share_right(model, images / 255):.1%} right")

# %% [markdown]
# **Instead:** make the rescale the first layer, as in section 3. Then pictures go in as they are, here and wherever the network is
# used.
#
# ### Trap 2: `== 1` on a sigmoid
#
# For two classes the tutorials use one output with a sigmoid and then ask `if result[0][0] == 1`. A sigmoid gives a *probability*,
# such as 0.93; it is almost never exactly 1. A small network for the first two classes shows what that does:

# %%
pair_train, pair_test = pictures.train.labels < 2, pictures.test.labels < 2
pair_batches = tf.data.Dataset.from_tensor_slices(
    (pictures.train.pixels[pair_train], pictures.train.labels[pair_train])
)
binary = keras.Sequential(
    [
        keras.Input((*IMAGE_SIZE, 3), dtype="uint8"),
        layers.Rescaling(1 / 127.5, offset=-1),
        layers.Conv2D(8, 3, strides=2, activation="relu"),
        layers.GlobalMaxPooling2D(),
        layers.Dense(1, activation="sigmoid"),
    ]
)
binary.compile(optimizer=keras.optimizers.Adam(0.01), loss="binary_crossentropy", jit_compile=False)
binary.fit(
    pair_batches.shuffle(len(pictures.train), seed=SEED).batch(32),
    epochs=10,
    shuffle=False,
    verbose=0,
)
result = predict(binary, pictures.test.pixels[pair_test])[:, 0]  # probability of the second class
truth = pictures.test.labels[pair_test]
print(f"of {(truth == 1).sum()} pictures of {class_names[1]!r},")
print(f"    == 1   finds {(result[truth == 1] == 1).sum()}")
print(f"    >= 0.5 finds {(result[truth == 1] >= 0.5).sum()}")

# %% [markdown]
# **Instead:** compare with 0.5, or have one output per class with a softmax and take the largest, as above. (Why does `== 1` seem to
# work in some tutorials? Because they fall into trap 1 as well: pixels up to 255 drive the sigmoid so far that it gives exactly 0 or
# 1, for right and wrong answers alike.)
#
# ### Trap 3: validating on the test set
#
# `validation_data=test_set` looks harmless, since the network does not learn from it. But *you* do: you keep the epoch, the size, the
# learning rate that did best on it. To see what that is worth, let 200 "networks" guess at random, keep the one that does best on the
# test pictures, and try it on fresh ones:

# %%
rng = np.random.default_rng(SEED)
truth = pictures.test.labels
guesses = rng.integers(0, len(class_names), size=(200, len(truth)))
scores = (guesses == truth).mean(axis=1)
# Guessing has no memory: on new pictures the best one guesses again.
fresh = rng.integers(0, len(class_names), size=len(truth))
print(f"mean of 200 guessers:                     {scores.mean():.1%}")
print(f"the best of them on the pictures it won by: {scores.max():.1%}")
print(f"the same one on fresh pictures:           {(fresh == truth).mean():.1%}")

# %% [markdown]
# **Instead:** choose by validation pictures that were taken out of the training part; score once on test.
#
# ### Trap 4: keeping the last epoch
#
# `fit` ends with the weights of the last epoch, not with the best ones. How much that matters is chance; keeping the best costs a
# line (section 4):

# %%
kept = history["val_loss"][best_epoch], history["val_accuracy"][best_epoch]
last = history["val_loss"][-1], history["val_accuracy"][-1]
worst = max(history["val_loss"][len(history["val_loss"]) // 2 :])
print(f"kept epoch {best_epoch + 1:2}: validation loss {kept[0]:.3f}, accuracy {kept[1]:.1%}")
print(f"last epoch {len(history['loss']):2}: validation loss {last[0]:.3f}, accuracy {last[1]:.1%}")
print(f"the worst epoch of the second half had a validation loss of {worst:.3f}")

# %% [markdown]
# **Instead:** `ModelCheckpoint(save_best_only=True)`, or `EarlyStopping(restore_best_weights=True)`.
#
# ### Trap 5: the order of the classes
#
# `flow_from_directory` and its successors number the classes in *alphabetical* order, not in the order you think of them. A list of
# names typed by hand in another order gives every answer the wrong name, with high confidence:

# %%
numbers = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
by_hand = numbers if is_digits else [*class_names[1:], class_names[0]]
named_right = np.mean(
    [by_hand[p] == class_names[t] for p, t in zip(test.predicted, test.labels, strict=True)]
)
print("in the network: ", ", ".join(class_names[:10]))
print("typed by hand:  ", ", ".join(by_hand[:10]))
print(f"right names, by the network's list:      {test.correct.mean():.1%}")
print(f"right names, by the list typed by hand: {named_right:.1%}")

# %% [markdown]
# **Instead:** save the names with the network, as at the beginning of this section.
#
# ### Trap 6: copies in training and test
#
# The same picture in both parts, perhaps saved twice under other names, is a question whose answer the network has seen. To see what
# that does, give the training pictures *random labels*, so that there is nothing to learn but the pictures themselves, and then put
# half of the training pictures into the "test" part:

# %%
from sklearn.neighbors import KNeighborsClassifier

flat = pictures.train.pixels[:1000, ::2, ::2].reshape(min(1000, len(pictures.train)), -1)
random_labels = rng.integers(0, len(class_names), size=len(flat))
half = len(flat) // 2
memory = KNeighborsClassifier(1).fit(flat[:half], random_labels[:half])
mixed = [*range(half // 2), *range(half, half + half // 2)]  # one half copies, the other half new
print(f"labels are random; guessing gives          {1 / len(class_names):.1%}")
print(
    f"test pictures that are new:                {memory.score(flat[half:], random_labels[half:]):.1%}"
)
print(
    f"test pictures of which every other is a copy: {memory.score(flat[mixed], random_labels[mixed]):.1%}"
)

# %% [markdown]
# **Instead:** look for copies first. The audit of section 2 does, and fieldguide gives the test score with and without them.
#
# ### Trap 7: augmenting what is scored
#
# One generator for everything also shifts, turns and mirrors the validation and test pictures. Then the score says how well the
# network does on pictures nobody has:

# %%
changed = np.concatenate(
    [augment(images[i : i + 64], None)[0].numpy() for i in range(0, len(images), 64)]
)
print(f"test pictures as they are: {share_right(model, pictures.test.pixels):.1%} right")
print(f"test pictures augmented:   {share_right(model, changed):.1%} right")

# %% [markdown]
# **Instead:** augment training batches only, as in section 2.
#
# ## 8. Exercises
#
# Try each before you open its answer.
#
# **1.** How many weights has the second convolution, and why does the size of the picture not matter?
#
# <details><summary>Answer</summary>
#
# Each of its 32 filters looks at 3 x 3 places in all 16 maps of the first: 3 x 3 x 16 x 32 = 4,608, without biases. The same filter
# slides over the whole picture, so its weights are used at every place; more places mean more computing, not more weights.
# `model.summary()` shows the number.
#
# </details>
#
# **2.** Replace `Flatten` by `GlobalAveragePooling2D`. How many weights does the next `Dense` layer save with pictures of 32 x 32 px?
#
# <details><summary>Answer</summary>
#
# After three poolings there are 4 x 4 places with 64 values each. Flattened, the dense layer gets 1,024 values and has
# 1,024 x 128 + 128 = 131,200 weights. Averaged over the places it gets 64 values and has 64 x 128 + 128 = 8,320: it saves 122,880.
# It no longer knows *where* something was. For photographs of one thing that is often no loss.
#
# </details>
#
# **3.** Set `padding="valid"` in all three convolutions. What is the shape before `Flatten` for 32 x 32 px?
#
# <details><summary>Answer</summary>
#
# Without padding, a 3 x 3 filter takes one pixel away on each side, and pooling drops what does not fill a 2 x 2 square:
# 32 → 30 → 15 → 13 → 6 → 4 → 2. So (batch, 2, 2, 64).
#
# </details>
#
# **4.** A colleague's network has 92 % on 100 test pictures, yours has 95 % on the same 100. Is yours better?
#
# <details><summary>Answer</summary>
#
# That cannot be told from the two numbers: the intervals are 85.0 to 95.9 % and 88.8 to 97.8 %, which overlap widely. Since both saw
# the same pictures, count those that one got right and the other wrong: if it was, say, 3 to 6, that is like getting 6 heads in 9
# tosses of a coin. More test pictures would help.
#
# </details>
#
# **5.** How many test pictures does it take to know an accuracy of about 90 % to within one per cent, up or down?
#
# <details><summary>Answer</summary>
#
# The interval is about 1.96 x sqrt(p (1 - p) / n) wide on each side. With p = 0.9 and 0.01 on the left,
# n = 0.9 x 0.1 x (1.96 / 0.01)² = 3,457 pictures. For half the width it takes four times as many.
#
# </details>
#
# **6.** 950 of 1,000 test pictures show a healthy leaf, 50 a sick one. A network has 95 % accuracy. What would you ask?
#
# <details><summary>Answer</summary>
#
# For the recall of "sick". A network that always answers "healthy" has 95 % as well, and finds no sick leaf. Look at the table per
# class, not at the accuracy alone.
#
# </details>
#
# **7.** Take the `BatchNormalization` layers out and train again (run from section 3 on). What changes in the curves?
#
# <details><summary>Answer</summary>
#
# Usually the first epochs go slower, since the network has to find the right scale of each layer by itself; with a larger learning
# rate (try 0.01) it may not learn at all, where the one with the layers still does. How far the two are apart at the end differs from
# data to data. Compare validation, not test, and try more than one `SEED` before you believe a small difference.
#
# </details>
#
# **8.** Train with `SEED = 1`, then 2. How far do the test accuracies lie apart, and is that more than the interval?
#
# <details><summary>Answer</summary>
#
# The seed changes the first weights, the order and the split into training and validation. The accuracies usually differ by less than
# the width of the interval. Choosing the best seed by the test score would be trap 3.
#
# </details>
