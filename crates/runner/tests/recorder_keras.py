"""Trains a small network on generated examples with the recorder of `evenkeel recorder keras`.

usage: recorder_keras.py FOLDER CASE

FOLDER has `evenkeel_keras.py`; the record is `CASE.jsonl`. Each case is trained with and without the
recorder, and must end with the same parameters. The backend is that of Keras's configuration.
"""

import os
import sys

import keras
import numpy
from keras import layers

folder, case = sys.argv[1:]
sys.path.insert(0, folder)
import evenkeel_keras

CLASSES, WIDTH, BATCH = 4, 20, 32
EPOCHS = 1 if case == "layers" else 4


def examples(count, seed):
    random = numpy.random.default_rng(seed)
    centres = numpy.random.default_rng(5).normal(size=(CLASSES, WIDTH)) * 1.2
    labels = random.integers(0, CLASSES, count)
    inputs = centres[labels] + random.normal(size=(count, WIDTH))
    return inputs.astype("float32"), labels


def network():
    if case == "layers":
        inputs = keras.Input((WIDTH,))
        x = layers.Embedding(7, 12)(keras.ops.cast(keras.ops.abs(inputs), "int32") % 7)
        attended = layers.MultiHeadAttention(2, 6)(x, x)
        x = layers.LayerNormalization()(layers.add([x, attended]))
        x = layers.Conv1D(8, 3, padding="same", activation="tanh")(x)
        x = layers.BatchNormalization()(x)
        x = layers.LSTM(12, return_sequences=True)(x)
        x = layers.Dropout(0.1)(layers.GlobalAveragePooling1D()(x))
        x = layers.Activation("sigmoid")(layers.Dense(12, trainable=False)(x))
        return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x))
    values = {"zero": 0.0, "equal": 0.05}
    kernel = keras.initializers.Constant(values[case]) if case in values else "glorot_uniform"
    return keras.Sequential(
        [
            layers.Dense(64, activation="relu", kernel_initializer=kernel),
            layers.Dense(64, activation="relu", kernel_initializer=kernel),
            layers.Dense(CLASSES, activation="softmax", kernel_initializer=kernel),
        ]
    )


def train(is_recorded):
    keras.utils.set_random_seed(0)
    model = network()
    rate = 1e3 if case == "rate" else 0.05
    model.compile(
        keras.optimizers.SGD(rate, momentum=0.5),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    inputs, labels = examples(320 if case == "layers" else 1984, 0)
    validation = examples(500, 1)
    callbacks = []
    if is_recorded:
        path = os.path.join(folder, case + ".jsonl")
        recorder = evenkeel_keras.Recorder(path, classes=CLASSES, probe=inputs[:128])
        recorder.data(inputs, labels, *validation)
        callbacks.append(recorder)
    model.fit(
        inputs,
        labels,
        batch_size=BATCH,
        epochs=EPOCHS,
        validation_data=validation,
        callbacks=callbacks,
        verbose=0,
    )
    return model.get_weights()


for one, other in zip(train(True), train(False)):
    numpy.testing.assert_array_equal(one, other)
