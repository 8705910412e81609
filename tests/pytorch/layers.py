"""What PyTorch makes of every layer and every loss, in f64: writes `tests/golden/layers.json`.

Run with a Python that has PyTorch, from the root of the repository:

    python tests/pytorch/layers.py > tests/golden/layers.json

A case is a sequence of layers, each as a configuration file of ours spells it beside the module that it should equal; a batch;
parameters and buffers; and what follows: outputs, loss, gradients and, of a training pass, the buffers behind it. Tensors have
PyTorch's names, shapes and order of elements, each as `[shape, elements]`. What goes in has three decimals, so that the
file stays small and both sides read the same numbers. The test `tests/tests/parity.rs` builds the same network and compares.
"""

import json
import sys

import torch
from torch import nn
from torch.nn import functional as F

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

CASES = []


def numbers(stream, *shape):
    """In ±1 with three decimals, from integers alone."""
    count = torch.Size(shape).numel()
    mixed = (((i * 7919 + stream * 104729 + 12345) * 2654435761 % 2**32) / 2**32 for i in range(count))
    return torch.tensor([round(2.0 * x - 1.0, 3) for x in mixed]).reshape(shape)


def tensors(named):
    return {name: [list(t.shape), t.detach().flatten().tolist()] for name, t in named.items()}


class Network(nn.Module):
    """Whose names begin with `layers.`, as ours do."""

    def __init__(self, modules):
        super().__init__()
        self.layers = nn.Sequential(*modules)

    def forward(self, x):
        return self.layers(x)


def case(
    name, shape, layers, rows=3, train=False, inputs=None, size=1.0, loss=({"kind": "mse"}, F.mse_loss), targets=None
):
    """`layers` are pairs of a specification and a module, `shape` that of a row as PyTorch sees it, `size` that of weights."""
    network = Network([module for _, module in layers]).train(train)
    for stream, (tensor_name, tensor) in enumerate(network.state_dict().items()):
        values = (size * numbers(100 + stream, *tensor.shape)).round(decimals=3)
        if tensor_name.endswith("num_batches_tracked"):
            values = torch.tensor(5)
        elif tensor_name.endswith(("running_var", "std")):
            values = (1.5 + values).round(decimals=3)
        tensor.copy_(values)
    x = (2 * numbers(1, rows, *shape) if inputs is None else inputs).detach().clone().requires_grad_()
    params = dict(network.named_parameters())
    recorded = {
        "name": name,
        "shape": list(shape),
        "rows": rows,
        "train": train,
        "layers": [spec for spec, _ in layers],
        "loss": loss[0],
        "inputs": x.flatten().tolist(),
        "params": tensors(params),
        "buffers": tensors(dict(network.named_buffers())),
    }
    y = network(x)
    targets = numbers(2, *y.shape) if targets is None else targets
    mean_loss = loss[1](y, targets)
    mean_loss.backward()
    recorded |= {
        "labels" if targets.dtype == torch.int64 else "values": targets.flatten().tolist(),
        "output_shape": list(y.shape[1:]),
        "outputs": y.flatten().tolist(),
        "mean_loss": mean_loss.item(),
        "dinputs": None if x.grad is None else x.grad.flatten().tolist(),
        "grads": tensors({name: p.grad for name, p in params.items()}),
        "buffers_after": tensors(dict(network.named_buffers())),
    }
    CASES.append(recorded)


# Modules that PyTorch has under another name or with its axes in another order.


class Apply(nn.Module):
    """A function without parameters."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class FlatLinear(nn.Linear):
    """Of an image, flattened."""

    def forward(self, x):
        return super().forward(x.flatten(1))


def channels_first(kind):
    """`kind`, of a sequence (rows, steps, features), whose features are its channels."""

    class Transposed(kind):
        def forward(self, x):
            return super().forward(x.transpose(1, 2)).transpose(1, 2)

    return Transposed


def channels_last(kind):
    """`kind`, at each place of an image (rows, channels, height, width)."""

    class Moved(kind):
        def forward(self, x):
            return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    return Moved


class IndexEmbedding(nn.Embedding):
    def forward(self, x):
        return super().forward(x.to(torch.int64))


class Position(nn.Module):
    def __init__(self, steps, features):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(steps, features))

    def forward(self, x):
        return x + self.weight


class Standardise(nn.Module):
    def __init__(self, *shape):
        super().__init__()
        self.register_buffer("mean", torch.empty(shape))
        self.register_buffer("std", torch.empty(shape))

    def forward(self, x):
        return (x - self.mean) / self.std


class Unstandardise(Standardise):
    def forward(self, x):
        return x * self.std + self.mean


class SelfAttention(nn.MultiheadAttention):
    def __init__(self, features, heads, causal):
        super().__init__(features, heads, batch_first=True)
        self.causal = causal

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1]) if self.causal else None
        return super().forward(x, x, x, attn_mask=mask, need_weights=False)[0]


class Block(nn.TransformerEncoderLayer):
    def __init__(self, features, heads, hidden, causal, dropout):
        options = dict(activation="gelu", batch_first=True, norm_first=True)
        super().__init__(features, heads, hidden, dropout, **options)
        self.causal = causal

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1]) if self.causal else None
        return super().forward(x, src_mask=mask)


def recurrent(kind):
    """All steps, or the last; the state is detached after so many steps."""

    class Recurrent(kind):
        def __init__(self, features, units, last=False, truncate=None, **options):
            super().__init__(features, units, batch_first=True, **options)
            self.last, self.truncate = last, truncate

        def forward(self, x):
            outputs, state = [], None
            for chunk in x.split(self.truncate or x.shape[1], dim=1):
                y, state = super().forward(chunk, state)
                state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
                outputs.append(y)
            y = torch.cat(outputs, dim=1)
            return y[:, -1] if self.last else y

    return Recurrent


class Residual(nn.Module):
    def __init__(self, body, shortcut, scale):
        super().__init__()
        self.body = nn.Sequential(*(module for _, module in body))
        if shortcut:
            self.shortcut = nn.Sequential(*(module for _, module in shortcut))
        self.scale = nn.Parameter(torch.empty(1)) if scale is None else scale

    def forward(self, x):
        return (self.shortcut(x) if hasattr(self, "shortcut") else x) + self.scale * self.body(x)


def residual(body, shortcut=(), scale=None):
    """A learned scale, unless it is given."""
    spec = {"kind": "residual", "body": [spec for spec, _ in body], "shortcut": [spec for spec, _ in shortcut]}
    spec["scale"] = {"learned": 0.0} if scale is None else {"fixed": scale}
    return spec, Residual(body, shortcut, scale)


def dense(inputs, units, bias=True, kind=nn.Linear):
    return {"kind": "dense", "units": units, "bias": bias}, kind(inputs, units, bias=bias)


def convolution(channels, filters, kernel, stride=1, padding=0, groups=1, bias=True):
    spec = dict(filters=filters, kernel=kernel, stride=stride, padding=padding, groups=groups, bias=bias)
    window = dict(stride=stride, padding=padding, groups=groups, bias=bias)
    return {"kind": "convolution"} | spec, nn.Conv2d(channels, filters, kernel, **window)


def batch_norm(channels, momentum=0.1, epsilon=1e-5, kind=nn.BatchNorm2d):
    spec = {"kind": "batch_norm", "momentum": momentum, "epsilon": epsilon}
    return spec, kind(channels, eps=epsilon, momentum=momentum)


FLATTEN = {"kind": "flatten"}, nn.Flatten()
RELU = {"kind": "relu"}, nn.ReLU()
TANH = {"kind": "tanh"}, nn.Tanh()
POOL = {"kind": "global_pooling"}, Apply(lambda x: x.mean(dim=(2, 3)))
MEAN = {"kind": "global_pooling"}, Apply(lambda x: x.mean(dim=1))
PLACES = {"kind": "places"}, Apply(lambda x: x.flatten(2).transpose(1, 2))
ROWS = {"kind": "rows"}, Apply(lambda x: x.permute(0, 2, 3, 1).flatten(2))

IMAGE = (2, 5, 4)  # channels, height, width
STEPS = (5, 6)

case("dense", (4,), [dense(4, 3)])
case("dense without bias", (4,), [dense(4, 3, bias=False)])
case("dense of steps", STEPS, [dense(6, 3)])
SMALL = (numbers(1, 3, *IMAGE) / 4).round(decimals=3)  # keeps tanh away from ±1, where 1 - y^2 has few digits on either side
case("dense of an image", IMAGE, [dense(40, 3, kind=FlatLinear), TANH, dense(3, 2)], inputs=SMALL)

# Each by itself, at its kinks too, and behind a dense layer, which takes it in.
KINKS = torch.tensor([0.0, 1.0, -1.0, 3.0, -3.0, 6.0, -6.0, 0.5])
for spec, module in [
    ({"kind": "relu"}, nn.ReLU),
    ({"kind": "capped_relu"}, nn.ReLU6),
    ({"kind": "capped_relu", "cap": 1.0}, lambda: nn.Hardtanh(0.0, 1.0)),
    ({"kind": "leaky_relu", "slope": 0.1}, lambda: nn.LeakyReLU(0.1)),
    ({"kind": "elu", "alpha": 0.7}, lambda: nn.ELU(0.7)),
    ({"kind": "selu"}, nn.SELU),
    ({"kind": "gelu"}, nn.GELU),
    ({"kind": "gelu_tanh"}, lambda: nn.GELU(approximate="tanh")),
    ({"kind": "silu"}, nn.SiLU),
    ({"kind": "mish"}, nn.Mish),
    ({"kind": "sigmoid"}, nn.Sigmoid),
    # Not nn.Hardsigmoid, whose gradient in f64 is that of f32: 1/6 is off by 3e-8 there (PyTorch 2.15).
    ({"kind": "hard_sigmoid"}, lambda: Apply(lambda x: F.relu6(x + 3) / 6)),
    ({"kind": "tanh"}, nn.Tanh),
    ({"kind": "hard_tanh"}, nn.Hardtanh),
    ({"kind": "softplus"}, nn.Softplus),
    ({"kind": "softsign"}, nn.Softsign),
    ({"kind": "exponential"}, lambda: Apply(torch.exp)),
]:
    inputs = torch.stack([KINKS, 4 * numbers(1, 8)])
    # Twice the exponential of larger numbers has one element that outweighs all others.
    inputs = (inputs / 4).round(decimals=3) if spec["kind"] == "exponential" else inputs
    name, layers = " ".join(map(str, spec.values())), [(spec, module()), dense(8, 4), (spec, module())]
    case(name, (8,), layers, 2, inputs=inputs, size=0.3)
PRELU = {"kind": "prelu"}
case("prelu", (4,), [(PRELU, nn.PReLU(4)), dense(4, 3)])
case("prelu of steps", STEPS, [(PRELU, channels_first(nn.PReLU)(6))])
case("prelu of an image", IMAGE, [(PRELU, nn.PReLU(2))])

SOFTMAX = {"kind": "softmax"}
case("softmax", (4,), [dense(4, 5), (SOFTMAX, nn.Softmax(dim=-1)), dense(5, 3), (SOFTMAX, nn.Softmax(dim=-1))])
case("softmax of steps", STEPS, [(SOFTMAX, nn.Softmax(dim=-1)), dense(6, 3)])
case("softmax of an image", (3, 3, 2), [(SOFTMAX, nn.Softmax(dim=1)), convolution(3, 2, [2, 2])])

case("convolution", IMAGE, [convolution(2, 3, [3, 3])])
case("convolution, stride and padding", IMAGE, [convolution(2, 3, [3, 2], stride=[2, 1], padding=[1, 1]), TANH])
case("convolution, groups", IMAGE, [convolution(2, 4, [2, 3], padding=[0, 1], groups=2, bias=False), RELU])
case("convolution, depthwise", (4, 5, 3), [convolution(4, 4, [3, 3], padding=[1, 1], groups=4)], 2)
TWICE = convolution(3, 6, [3, 3], stride=[2, 2], padding=[1, 1], groups=3)
case("convolution, depthwise, two a channel", (3, 4, 4), [TWICE], 2)
case("convolution, one tap", IMAGE, [convolution(2, 5, [1, 1]), ({"kind": "gelu"}, nn.GELU())], 2)


def pooling(kind, kernel, stride, padding):
    spec = {"kind": "max_pooling" if kind is nn.MaxPool2d else "mean_pooling"}
    return spec | dict(kernel=kernel, stride=stride, padding=padding), kind(kernel, stride, padding)


TIES = (2 * numbers(1, 2, *IMAGE)).round(decimals=0)
for kind, name in [(nn.MaxPool2d, "max pooling"), (nn.AvgPool2d, "mean pooling")]:
    case(name, IMAGE, [pooling(kind, [2, 2], [2, 2], [0, 0]), FLATTEN, dense(8, 2)], 2)
    overlapping, dense_grid = pooling(kind, [3, 2], [1, 2], [1, 1]), pooling(kind, [3, 3], [1, 1], [1, 1])
    case(f"{name}, overlapping", IMAGE, [overlapping, dense(30, 2, kind=FlatLinear)], 2)
    case(f"{name}, ties", IMAGE, [dense_grid, dense(40, 2, kind=FlatLinear)], 2, inputs=TIES)
SIXTEEN = [convolution(16, 16, [3, 3], padding=[1, 1]), RELU, pooling(nn.MaxPool2d, [2, 2], [2, 2], [0, 0])]
case("max pooling of a convolution of sixteens", (16, 4, 4), SIXTEEN, 2, size=0.3)
case("global pooling of an image", IMAGE, [POOL, dense(2, 3)])
case("global pooling of steps", STEPS, [MEAN, dense(6, 3)])
case("flatten", IMAGE, [convolution(2, 3, [2, 2]), FLATTEN, dense(36, 2)], 2)
case("flatten, dense further on", IMAGE, [convolution(2, 3, [2, 2]), FLATTEN, TANH, dense(36, 2)], 2)
case("flatten, no dense", IMAGE, [FLATTEN, ({"kind": "rms_norm"}, nn.RMSNorm(40, eps=1e-5))], 2)
case("places", IMAGE, [PLACES, dense(2, 3)], 2)
case("rows", IMAGE, [ROWS, dense(8, 2)], 2)

for train in [False, True]:
    mode = "training" if train else "evaluation"
    case(f"batch norm 1-D, {mode}", (4,), [batch_norm(4, kind=nn.BatchNorm1d), dense(4, 3)], 5, train)
    steps = batch_norm(6, momentum=0.3, epsilon=1e-3, kind=channels_first(nn.BatchNorm1d))
    case(f"batch norm of steps, {mode}", STEPS, [steps], 2, train)
    case(f"batch norm 2-D, {mode}", IMAGE, [convolution(2, 3, [2, 2], bias=False), batch_norm(3), RELU], 2, train)
EPSILON = {"epsilon": 1e-4}
for kind, ours in [(nn.LayerNorm, "layer_norm"), (nn.RMSNorm, "rms_norm")]:
    spec = {"kind": ours} | EPSILON
    case(ours, (6,), [(spec, kind(6, eps=1e-4))])
    case(f"{ours} of steps", STEPS, [(spec, kind(6, eps=1e-4))], 2)
    case(f"{ours} of an image", (3, 3, 2), [(spec, channels_last(kind)(3, eps=1e-4))], 2)
GROUPS = {"kind": "group_norm", "groups": 2} | EPSILON
case("group norm", (6,), [(GROUPS, nn.GroupNorm(2, 6, eps=1e-4))])
case("group norm of steps", STEPS, [(GROUPS, channels_first(nn.GroupNorm)(2, 6, eps=1e-4))], 2)
case("group norm of an image", (4, 3, 3), [(GROUPS, nn.GroupNorm(2, 4, eps=1e-4))], 2)
case("instance norm", (3, 3, 3), [(GROUPS | {"groups": 3}, nn.GroupNorm(3, 3, eps=1e-4))], 2)

INDICES = torch.tensor([[0.0, 6.0, 3.0, 3.0], [1.0, 3.0, 5.0, 0.0]])
EMBEDDING = {"kind": "embedding", "count": 7, "features": 3}, IndexEmbedding(7, 3)
case("embedding", (4,), [EMBEDDING], 2, inputs=INDICES)
case("position", STEPS, [({"kind": "position"}, Position(*STEPS))], 2)
case("standardise", (4,), [({"kind": "standardise"}, Standardise(4)), dense(4, 2)])
STANDARD = {"kind": "standardise"}, Standardise(2, 3, 2)
case("standardise an image", (2, 3, 2), [STANDARD, dense(12, 2, kind=FlatLinear)])
# Not as the last layer, behind which our loss standardises outputs and targets.
UNSTANDARD = {"kind": "unstandardise"}, Unstandardise(3)
case("unstandardise", (4,), [dense(4, 3), UNSTANDARD, TANH])
case("dropout, evaluation", (4,), [({"kind": "dropout", "p": 0.4}, nn.Dropout(0.4)), dense(4, 3)])

for causal in [False, True]:
    behind = ", causal" if causal else ""
    for heads in [1, 3]:
        spec = {"kind": "attention", "heads": heads, "causal": causal}
        case(f"attention, {heads} heads{behind}", STEPS, [(spec, SelfAttention(6, heads, causal))], 2)
    spec = {"kind": "transformer", "heads": 2, "hidden": 5, "dropout": 0.2, "causal": causal}
    case(f"transformer{behind}", STEPS, [(spec, Block(6, 2, 5, causal, 0.2))], 2)

for kind, spec, options in [
    (nn.RNN, {"kind": "rnn"}, {}),
    (nn.RNN, {"kind": "rnn", "activation": "relu"}, {"nonlinearity": "relu"}),
    (nn.LSTM, {"kind": "lstm"}, {}),
    (nn.GRU, {"kind": "gru"}, {}),
]:
    name, layer, shape = " ".join(spec.values()), recurrent(kind), (5, 3)
    spec = spec | {"units": 4}
    case(name, shape, [(spec, layer(3, 4, **options))], 2)
    case(f"{name}, last step", shape, [(spec | {"last": True}, layer(3, 4, last=True, **options))], 2)
    case(f"{name}, truncated", shape, [(spec | {"truncate": 2}, layer(3, 4, truncate=2, **options))], 2)

case("residual", (4,), [residual([dense(4, 5), RELU, dense(5, 4)], scale=1.0), RELU])
case("residual, scaled", (4,), [residual([dense(4, 4), TANH], scale=0.3), dense(4, 2)])
case("residual, learned scale", (4,), [residual([dense(4, 5), TANH, dense(5, 4)])])
case("residual, projected", (4,), [residual([dense(4, 5), TANH, dense(5, 3)], [dense(4, 3, bias=False)], 1.0)])
BODY = [
    convolution(2, 3, [3, 3], stride=[2, 2], padding=[1, 1], bias=False),
    batch_norm(3),
    RELU,
    convolution(3, 3, [3, 3], padding=[1, 1], bias=False),
    batch_norm(3),
]
PROJECTION = [convolution(2, 3, [1, 1], stride=[2, 2], bias=False), batch_norm(3)]
case("residual of convolutions, training", IMAGE, [residual(BODY, PROJECTION, 1.0), RELU, POOL, dense(3, 2)], 3, True)

# Losses. Each is compared on both sides of its kinks.
LABELS = torch.tensor([2, 0, 1, 1])
SHARES = torch.tensor([[0.25, 0.25, 0.5], [1.0, 0.0, 0.0], [0.125, 0.75, 0.125], [0.0, 0.5, 0.5]])
SMOOTH = {"kind": "cross_entropy", "smoothing": 0.1}
WEIGHTED = {"kind": "binary_cross_entropy", "positive_weight": 2.5}
COUNTS = torch.tensor([[0.0, 1.0, 3.0], [2.0, 0.0, 5.0], [1.0, 1.0, 0.0], [4.0, 2.0, 1.0]])


def divergence(y, t):
    t = F.one_hot(t, 3).double() if t.dtype == torch.int64 else t
    return F.kl_div(F.log_softmax(y, dim=1), t, reduction="batchmean")


def brier(probabilities):
    return lambda y, t: F.mse_loss(probabilities(y), F.one_hot(t, 3).double() if t.dtype == torch.int64 else t)


for name, spec, loss, targets in [
    ("cross-entropy", {"kind": "cross_entropy"}, nn.CrossEntropyLoss(), LABELS),
    ("cross-entropy, smoothing", SMOOTH, nn.CrossEntropyLoss(label_smoothing=0.1), LABELS),
    ("cross-entropy, shares", {"kind": "cross_entropy"}, nn.CrossEntropyLoss(), SHARES),
    ("cross-entropy, both", SMOOTH, nn.CrossEntropyLoss(label_smoothing=0.1), SHARES),
    ("binary cross-entropy", {"kind": "binary_cross_entropy"}, nn.BCEWithLogitsLoss(), SHARES),
    ("binary, weighted", WEIGHTED, nn.BCEWithLogitsLoss(pos_weight=torch.full([3], 2.5)), SHARES),
    ("hinge", {"kind": "hinge"}, nn.MultiMarginLoss(), LABELS),
    ("hinge, squared", {"kind": "hinge", "margin": 0.5, "squared": True}, nn.MultiMarginLoss(p=2, margin=0.5), LABELS),
    ("squared error", {"kind": "mse"}, nn.MSELoss(), None),
    ("absolute error", {"kind": "mae"}, nn.L1Loss(), None),
    ("Huber", {"kind": "huber", "delta": 0.7}, nn.HuberLoss(delta=0.7), None),
    ("log-cosh", {"kind": "log_cosh"}, lambda y, t: torch.log(torch.cosh(y - t)).mean(), None),
    ("Poisson", {"kind": "poisson"}, nn.PoissonNLLLoss(), COUNTS),
    ("divergence", {"kind": "kl_divergence"}, divergence, SHARES),
    ("divergence, classes", {"kind": "kl_divergence"}, divergence, LABELS),
]:
    far = 20 * numbers(1, 4, 4)
    case(name, (4,), [dense(4, 3)], 4, loss=(spec, loss), targets=targets)
    case(f"{name}, far out", (4,), [dense(4, 3)], 4, inputs=far, loss=(spec, loss), targets=targets)
# Not far out: rates are positive, and a saturated probability has no digits of its gradient left on either side.
RATES = {"kind": "poisson", "log_input": False}, nn.PoissonNLLLoss(log_input=False)
SOFTPLUS = {"kind": "softplus"}, nn.Softplus()
case("Poisson, rates", (4,), [dense(4, 3), SOFTPLUS], 4, loss=RATES, targets=COUNTS)
for name, spec, probabilities in [
    ("Brier", {"kind": "brier"}, lambda y: F.softmax(y, dim=1)),
    ("Brier, sigmoid", {"kind": "brier", "sigmoid": True}, F.sigmoid),
]:
    for targets in [LABELS, SHARES]:
        behind = ", classes" if targets is LABELS else ""
        case(f"{name}{behind}", (4,), [dense(4, 3)], 4, loss=(spec, brier(probabilities)), targets=targets)

print(f'{{"python": "{".".join(map(str, sys.version_info[:2]))}", "torch": "{torch.__version__}", "cases": [')
print(",\n".join(json.dumps(case, separators=(",", ":")) for case in CASES))
print("]}")
