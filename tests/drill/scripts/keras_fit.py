"""A training with Keras that saves the whole model after each epoch, and resumes there."""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np

EPOCHS = 8


class Save(keras.callbacks.Callback):
    """BackupAndRestore writes in place: a kill within its save leaves nothing that can be read."""

    def on_epoch_end(self, epoch, logs=None):
        self.model.save("new.keras")
        os.replace("new.keras", f"after-{epoch + 1}.keras")


keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
done = max((n for n in range(1, EPOCHS + 1) if os.path.exists(f"after-{n}.keras")), default=0)
if done:
    model = keras.saving.load_model(f"after-{done}.keras")
else:
    layers = keras.Input((4,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.Adam(0.01), "mse")
model.fit(
    x,
    x.sum(1, keepdims=True),
    batch_size=8,
    epochs=EPOCHS,
    initial_epoch=done,
    shuffle=False,
    verbose=2,
    callbacks=[Save(), keras.callbacks.CSVLogger("log.csv", append=True)],
)
