"""What 50 steps of each optimizer come to, in f64: writes `tests/golden/optimizers.txt`.

Run with a Python that has PyTorch, JAX and optax, from the root of the repository:

    python tests/pytorch/optimizers.py > tests/golden/optimizers.txt

A line is a name and the 12 parameters (3 x 4) after 50 steps along gradients that `gradient` makes, of which the test
`tests/tests/optimizers.rs` has the same. PyTorch's optimizers are its own; optax's are its own where they are named so;
Lars and Muon are transcribed in NumPy, from timm's form and from PyTorch's documentation, but in f64.
"""

import sys

import jax
import numpy as np
import optax
import torch

jax.config.update("jax_enable_x64", True)
torch.set_default_dtype(torch.float64)  # NAdam keeps its product in the default type

STEPS, ROWS, COLS = 50, 3, 4
N = ROWS * COLS


def number(i, t):
    """In [-0.5, 0.5), from integers alone."""
    return ((i * 7919 + t * 104729 + 12345) * 2654435761 % 2**32) / 2**32 - 0.5


def start():
    return np.array([4.0 * number(i, 0) for i in range(N)])


def gradient(t, p):
    """Of different sizes from element to element, partly that of a bowl; element 5 has none for 40 steps."""
    g = [number(i, t) * 2.0 ** -(i % 5) + 0.25 * p[i] for i in range(N)]
    if t <= 40:
        g[5] = 0.0
    return np.array(g)


def pytorch(make):
    p = torch.tensor(start(), dtype=torch.float64, requires_grad=True)
    optimizer = make([p])
    for t in range(1, STEPS + 1):
        p.grad = torch.tensor(gradient(t, p.detach().numpy()), dtype=torch.float64)
        optimizer.step()
    return p.detach().numpy()


def with_optax(optimizer):
    p = jax.numpy.array(start())
    state = optimizer.init(p)
    for t in range(1, STEPS + 1):
        updates, state = optimizer.update(jax.numpy.array(gradient(t, np.array(p))), state, p)
        p = optax.apply_updates(p, updates)
    return np.array(p)


def lars(lr, momentum, coefficient, l2, nesterov, epsilon=1e-8):
    p, v = start(), np.zeros(N)
    for t in range(1, STEPS + 1):
        g = gradient(t, p)
        norm, size = np.linalg.norm(p), np.linalg.norm(g)
        trust = coefficient * norm / (size + l2 * norm + epsilon)
        g = trust * (g + l2 * p)
        v = momentum * v + g
        p = p - lr * (g + momentum * v if nesterov else v)
    return p


def muon(rows, cols, lr, momentum, nesterov, decay):
    a, b, c = 3.4445, -4.7750, 2.0315
    p, m = start().reshape(rows, cols), np.zeros((rows, cols))
    for t in range(1, STEPS + 1):
        g = gradient(t, p.ravel()).reshape(rows, cols)
        m = momentum * m + (1 - momentum) * g
        x = (1 - momentum) * g + momentum * m if nesterov else m
        x = x.T if rows > cols else x
        x = x / max(np.linalg.norm(x), 1e-7)
        for _ in range(5):
            gram = x @ x.T
            x = a * x + (b * gram + c * gram @ gram) @ x
        x = x.T if rows > cols else x
        p = p * (1 - lr * decay) - lr * max(1.0, rows / cols) ** 0.5 * x
    return p.ravel()


o = torch.optim
RESULTS = {
    "sgd": pytorch(lambda p: o.SGD(p, lr=0.05)),
    "sgd-l2": pytorch(lambda p: o.SGD(p, lr=0.05, weight_decay=0.1)),
    "momentum": pytorch(lambda p: o.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.01)),
    "nesterov": pytorch(lambda p: o.SGD(p, lr=0.05, momentum=0.9, nesterov=True)),
    "adagrad": pytorch(lambda p: o.Adagrad(p, lr=0.1)),
    "adagrad-decay": pytorch(lambda p: o.Adagrad(p, lr=0.1, lr_decay=0.1, weight_decay=0.05)),
    "rmsprop": pytorch(lambda p: o.RMSprop(p, lr=0.01)),
    "rmsprop-centred": pytorch(lambda p: o.RMSprop(p, lr=0.01, alpha=0.9, centered=True)),
    "rmsprop-momentum": pytorch(lambda p: o.RMSprop(p, lr=0.01, momentum=0.8, weight_decay=0.1)),
    "rmsprop-both": pytorch(lambda p: o.RMSprop(p, lr=0.01, momentum=0.8, centered=True)),
    "adadelta": pytorch(lambda p: o.Adadelta(p, lr=1.0)),
    "adadelta-l2": pytorch(lambda p: o.Adadelta(p, lr=0.5, rho=0.95, eps=1e-4, weight_decay=0.1)),
    "adam": pytorch(lambda p: o.Adam(p, lr=0.02)),
    "adam-l2": pytorch(lambda p: o.Adam(p, lr=0.02, betas=(0.8, 0.99), weight_decay=0.1)),
    "amsgrad": pytorch(lambda p: o.Adam(p, lr=0.02, betas=(0.9, 0.8), amsgrad=True)),
    "adamw": pytorch(lambda p: o.AdamW(p, lr=0.02, weight_decay=0.1)),
    "adamw-amsgrad": pytorch(lambda p: o.AdamW(p, lr=0.02, weight_decay=0.1, amsgrad=True)),
    "nadam": pytorch(lambda p: o.NAdam(p, lr=0.02)),
    "nadam-decoupled": pytorch(
        lambda p: o.NAdam(p, lr=0.02, momentum_decay=0.5, weight_decay=0.1, decoupled_weight_decay=True)
    ),
    "radam": pytorch(lambda p: o.RAdam(p, lr=0.02)),
    "radam-l2": pytorch(lambda p: o.RAdam(p, lr=0.02, betas=(0.9, 0.9), weight_decay=0.1)),
    "adamax": pytorch(lambda p: o.Adamax(p, lr=0.02)),
    "adamax-l2": pytorch(lambda p: o.Adamax(p, lr=0.02, betas=(0.8, 0.9), weight_decay=0.1)),
    "lion": with_optax(optax.lion(0.01, weight_decay=0.0)),
    "lion-decoupled": with_optax(optax.lion(0.01, b1=0.95, b2=0.98, weight_decay=0.5)),
    "lamb": with_optax(optax.lamb(0.02)),
    "lamb-decoupled": with_optax(optax.lamb(0.02, weight_decay=0.1)),
    "lars": lars(lr=10.0, momentum=0.9, coefficient=1e-3, l2=0.0, nesterov=False),
    "lars-nesterov": lars(lr=10.0, momentum=0.9, coefficient=1e-3, l2=0.1, nesterov=True),
    "muon": muon(ROWS, COLS, lr=0.02, momentum=0.95, nesterov=True, decay=0.1),
    "muon-tall": muon(COLS, ROWS, lr=0.02, momentum=0.9, nesterov=False, decay=0.0),
}

python = ".".join(map(str, sys.version_info[:2]))
print(f"# Python {python}, NumPy {np.__version__}, PyTorch {torch.__version__}, optax {optax.__version__}")
for name, p in RESULTS.items():
    assert p.dtype == np.float64 and np.isfinite(p).all(), name
    print(name, *(repr(float(x)) for x in p))
