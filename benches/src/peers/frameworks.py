"""Trains and asks whole models on request: the process behind `frameworks.rs`. Arguments: torch, jax, keras or onnx; how many threads.

"data COUNT LENGTH" and the bytes of COUNT images of LENGTH pixels, and of their labels: no answer.
"train MODEL BATCH CLIP DTYPE STEPS": makes ready to train it, STEPS steps at a time; CLIP is a global norm, or 0.
"infer BATCH SIZE" and the SIZE bytes of a model of ONNX: makes ready to ask it.
Both answer "ready", or with the reason why not. "time TIMES" does it so often, and answers with the seconds.
"""

import os
import sys
import time

FRAMEWORK, THREADS = sys.argv[1], int(sys.argv[2])
# Before a framework counts the processors.
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np  # noqa: E402

# How long a thread may go on looking for work, seconds: it must not slow down whoever is measured next. OpenMP's may do so for 200 ms.
SETTLE = 0.25


class Data:
    """Images from 0 to 1, and rounds over them in an order of its own each."""

    def __init__(self, pixels, labels):
        self.pixels, self.labels = pixels.astype(np.float32) / 255, labels
        self.random, self.order, self.at = np.random.default_rng(0), np.arange(0), 0

    def indices(self, count):
        """The next so many."""
        if self.at + count > len(self.order):
            self.order, self.at = self.random.permutation(len(self.pixels)), 0
        self.at += count
        return self.order[self.at - count : self.at]


def torch_trainer(data, model, batch, clip, dtype, steps):
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(THREADS)

    class Lstm(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.head = nn.LSTM(28, 128, batch_first=True), nn.Linear(128, 10)

        def forward(self, x):
            return self.head(self.lstm(x.view(-1, 28, 28))[0][:, -1])

    class Vit(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(1, 64, 4, 4)
            self.place = nn.Parameter(torch.randn(49, 64) * 0.02)
            options = dict(dropout=0.1, activation="gelu", batch_first=True, norm_first=True)
            blocks = [nn.TransformerEncoderLayer(64, 4, 128, **options) for _ in range(2)]
            self.blocks, self.norm, self.head = nn.Sequential(*blocks), nn.LayerNorm(64), nn.Linear(64, 10)

        def forward(self, x):
            x = self.patches(x.view(-1, 1, 28, 28)).flatten(2).transpose(1, 2) + self.place
            return self.head(self.norm(self.blocks(x)).mean(1))

    def dense(*widths):
        hidden = [part for pair in zip(widths, widths[1:]) for part in (nn.Linear(*pair), nn.ReLU())]
        return nn.Sequential(*hidden[:-1])

    def lenet():
        convolutions = [nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)]
        head = [nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Linear(128, 10)]
        return nn.Sequential(nn.Unflatten(1, (1, 28, 28)), *convolutions, *head)

    models = {
        "mlp": lambda: dense(784, 512, 10),
        "deep-mlp": lambda: dense(784, *[256] * 9, 10),
        "lenet": lenet,
        "vit-tiny": Vit,
        "lstm-rows": Lstm,
    }
    network = models[model]()
    x, y = torch.from_numpy(data.pixels), torch.from_numpy(data.labels.astype(np.int64))
    optimizer = torch.optim.Adam(network.parameters(), 1e-3, fused=True)

    def run():
        for _ in range(steps):
            at = torch.from_numpy(data.indices(batch))
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bf16"):
                loss = functional.cross_entropy(network(x[at]), y[at])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if clip:
                nn.utils.clip_grad_norm_(network.parameters(), clip)
            optimizer.step()

    return run


def jax_trainer(data, model, batch, clip, dtype, steps):
    """In f32 whatever `dtype` is: it has no automatic casts."""
    import jax
    import jax.numpy as jnp
    import optax

    widths = {"mlp": [784, 512, 10], "deep-mlp": [784, *[256] * 9, 10]}.get(model)
    if widths is None:
        return "not written for JAX"
    keys = jax.random.split(jax.random.PRNGKey(0), len(widths))
    params = [
        (jax.random.normal(key, shape) * (2 / shape[0]) ** 0.5, jnp.zeros(shape[1]))
        for key, shape in zip(keys, zip(widths, widths[1:]))
    ]
    adam = optax.adam(1e-3)
    optimizer = optax.chain(optax.clip_by_global_norm(clip), adam) if clip else adam
    x, y = jnp.asarray(data.pixels), jnp.asarray(data.labels.astype(np.int32))

    def loss(params, x, y):
        for weight, bias in params[:-1]:
            x = jax.nn.relu(x @ weight + bias)
        logits = x @ params[-1][0] + params[-1][1]
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    def step(state, at):
        params, moments = state
        value, grads = jax.value_and_grad(loss)(params, x[at], y[at])
        updates, moments = optimizer.update(grads, moments)
        return (optax.apply_updates(params, updates), moments), value

    # The fastest form of it: all steps in one compiled loop.
    steps_of = jax.jit(lambda state, at: jax.lax.scan(step, state, at)[0], donate_argnums=0)
    state = (params, optimizer.init(params))

    def run():
        nonlocal state
        state = steps_of(state, jnp.asarray(data.indices(steps * batch).reshape(steps, batch)))
        jax.block_until_ready(state)

    return run


def keras_trainer(data, model, batch, clip, dtype, steps):
    import tensorflow as tf

    if dtype != "f32":
        return "not written for Keras"
    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    layers = tf.keras.layers
    hidden = lambda units: layers.Dense(units, activation="relu")  # noqa: E731
    convolution = lambda filters: layers.Conv2D(filters, 3, activation="relu")  # noqa: E731
    bodies = {
        "mlp": lambda: [hidden(512)],
        "deep-mlp": lambda: [hidden(256) for _ in range(9)],
        "lenet": lambda: [
            layers.Reshape((28, 28, 1)), convolution(32), convolution(64),
            layers.MaxPooling2D(), layers.Flatten(), hidden(128),
        ],
        "lstm-rows": lambda: [layers.Reshape((28, 28)), layers.LSTM(128)],
    }  # fmt: skip
    if model not in bodies:
        return "not written for Keras"
    network = tf.keras.Sequential([layers.Input((784,)), *bodies[model](), layers.Dense(10, activation="softmax")])
    adam = tf.keras.optimizers.Adam(1e-3, global_clipnorm=clip or None)
    network.compile(optimizer=adam, loss="sparse_categorical_crossentropy")

    def run():
        at = data.indices(steps * batch)
        network.fit(data.pixels[at], data.labels[at], epochs=1, batch_size=batch, shuffle=False, verbose=0)

    return run


TRAINERS = {"torch": torch_trainer, "jax": jax_trainer, "keras": keras_trainer}


def answerer(data, batch, model):
    """ONNX Runtime, its inputs and outputs in place."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    images = data.pixels[data.indices(batch)].reshape(-1, 1, 28, 28)
    binding = session.io_binding()
    given = onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(images))
    binding.bind_ortvalue_input("images", given)
    answers = onnxruntime.OrtValue.ortvalue_from_shape_and_type([batch, 10], np.float32)
    binding.bind_ortvalue_output("logits", answers)
    return lambda: session.run_with_iobinding(binding)


def main():
    requests, answers = sys.stdin.buffer, sys.stdout.buffer

    def answer(text):
        answers.write(text.encode() + b"\n")
        answers.flush()

    answer("ready")
    data = work = None
    for line in iter(requests.readline, b""):
        kind, *words = line.decode().split()
        if kind == "data":
            count, length = map(int, words)
            pixels = np.frombuffer(requests.read(count * length), np.uint8).reshape(count, length)
            data = Data(pixels, np.frombuffer(requests.read(count), np.uint8))
        elif kind == "time":
            start = time.perf_counter()
            for _ in range(int(words[0])):
                work()
            seconds = time.perf_counter() - start
            time.sleep(SETTLE)
            answer(f"{seconds:.9f}")
        else:
            if kind == "infer":
                work = answerer(data, int(words[0]), requests.read(int(words[1])))
            else:
                model, batch, clip, dtype, steps = words
                work = TRAINERS[FRAMEWORK](data, model, int(batch), float(clip), dtype, int(steps))
            answer(work if isinstance(work, str) else "ready")


main()
