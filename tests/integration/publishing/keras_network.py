"""Run by test_tensorflow.py in the environment of TensorFlow: trains a network of images, writes it
as ONNX by Keras' own export, and prints what it answers for some rows, as JSON.
"""

import json
import sys

import numpy as np
import tensorflow as tf

data, file = np.load(sys.argv[1]), sys.argv[2]
tf.keras.utils.set_random_seed(0)
layers = tf.keras.layers
model = tf.keras.Sequential(
    [
        layers.Input(data["x"].shape[1:], name="image"),
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.BatchNormalization(),
        layers.MaxPooling2D(),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(64, activation="swish"),
        layers.Dense(10, activation="softmax"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy")
model.fit(data["x"], data["y"], epochs=25, batch_size=32, verbose=0)
model.export(file, format="onnx", verbose=False)
print(json.dumps(model.predict(data["asked"], verbose=0).tolist()))
