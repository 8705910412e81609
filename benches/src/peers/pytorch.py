"""Works with PyTorch on request: the process behind `pytorch.rs`. The argument: how many threads.

"product M N K A_TRANSPOSED B_TRANSPOSED" and the bytes of A and B in bf16, row after row as stored: answers with the bytes of C.
"operation NAME COLS LEN..." and the bytes of as many operands of f32, in rows of COLS: does one of `OPERATIONS`, and answers with
the bytes of its result.
"time TIMES": that work again, so often; answers with the seconds of all of them.
"""

import ctypes
import sys
import time

import torch
from torch.nn import functional

# How long a thread of PyTorch's may go on looking for work: it must not slow down whoever is measured next.
SETTLE = 0.005

aten = torch.ops.aten


def received(requests, length, dtype):
    data = bytearray(requests.read(length * dtype.itemsize))
    return torch.frombuffer(data, dtype=dtype).clone()


def matrix(requests, rows, cols, transposed):
    stored = received(requests, rows * cols, torch.bfloat16)
    return stored.view(cols, rows).t() if transposed else stored.view(rows, cols)


def product(requests, m, n, k, a_transposed, b_transposed):
    a, b = matrix(requests, m, k, a_transposed), matrix(requests, k, n, b_transposed)
    c = torch.empty(m, n, dtype=torch.bfloat16)
    return lambda: torch.mm(a, b, out=c)


def adam(p, g, m, v):
    """The one kernel of `torch.optim.Adam(fused=True)`, and what counts its steps."""
    step = torch.zeros(())

    def run():
        step.add_(1)
        torch._fused_adam_(
            [p], [g], [m], [v], [], [step],
            lr=1e-3, beta1=0.9, beta2=0.999, weight_decay=0.0, eps=1e-8, amsgrad=False, maximize=False,
        )  # fmt: skip
        return p

    return run


def clip(g):
    param = torch.nn.Parameter(torch.zeros_like(g))
    param.grad = g

    def run():
        torch.nn.utils.clip_grad_norm_([param], 1.0, foreach=True)
        return g

    return run


def adam_clipped(p, g, m, v):
    clipped, stepped = clip(g), adam(p, g, m, v)

    def run():
        clipped()
        return stepped()

    return run


def labels_of(logits):
    return torch.arange(len(logits)) % logits.shape[1]


def cross_entropy(logits, losses, dlogits):
    """As it is used: the mean loss forward, then backward."""
    labels = labels_of(logits)
    logits.requires_grad_()

    def run():
        logits.grad = None
        with torch.enable_grad():
            functional.cross_entropy(logits, labels).backward()
        return logits.grad

    return run


def cross_entropy_calls(logits, losses, dlogits):
    """The four calls that this comes to, without autograd, each into memory that is there already."""
    labels = labels_of(logits)
    powers, between, one = torch.empty_like(logits), torch.empty_like(logits), torch.ones(())
    loss, weight = torch.empty(()), torch.empty(())

    def run():
        aten._log_softmax.out(logits, 1, False, out=powers)
        aten.nll_loss_forward.output(powers, labels, None, 1, -100, output=loss, total_weight=weight)
        aten.nll_loss_backward.grad_input(one, powers, labels, None, 1, -100, weight, grad_input=between)
        return aten._log_softmax_backward_data.out(between, powers, 1, torch.float32, out=dlogits)

    return run


# From the operands to what is timed, which returns its result. Where PyTorch can be given the memory to write to, it is.
OPERATIONS = {
    "relu": lambda x, y: lambda: torch.clamp_min(x, 0, out=y),
    "sigmoid": lambda x, y: lambda: torch.sigmoid(x, out=y),
    "tanh": lambda x, y: lambda: torch.tanh(x, out=y),
    "gelu": lambda x, y: lambda: aten.gelu.out(x, out=y),
    "silu": lambda x, y: lambda: aten.silu.out(x, out=y),
    "relu_gradient": lambda y, dy: lambda: aten.threshold_backward.grad_input(dy, y, 0, grad_input=dy),
    "sigmoid_gradient": lambda y, dy: lambda: aten.sigmoid_backward.grad_input(dy, y, grad_input=dy),
    "tanh_gradient": lambda y, dy: lambda: aten.tanh_backward.grad_input(dy, y, grad_input=dy),
    "gelu_gradient": lambda x, dy: lambda: aten.gelu_backward.grad_input(dy, x, grad_input=dy),
    "silu_gradient": lambda x, dy: lambda: aten.silu_backward.grad_input(dy, x, grad_input=dy),
    "adam": adam,
    "adam_clipped": adam_clipped,
    "clip": clip,
    "cross_entropy": cross_entropy,
    "cross_entropy_calls": cross_entropy_calls,
}


def operation(requests, name, cols, *lengths):
    operands = [received(requests, int(length), torch.float32) for length in lengths]
    cols = int(cols)
    return OPERATIONS[name](*[x.view(-1, cols) if len(x) % cols == 0 else x for x in operands])


def main():
    torch.set_num_threads(int(sys.argv[1]))
    torch.set_grad_enabled(False)
    requests, answers = sys.stdin.buffer, sys.stdout.buffer

    def answer(data):
        answers.write(data)
        answers.flush()

    answer(b"ready\n")
    work = None
    for line in iter(requests.readline, b""):
        kind, *words = line.decode().split()
        if kind == "time":
            start = time.perf_counter()
            for _ in range(int(words[0])):
                work()
            seconds = time.perf_counter() - start
            time.sleep(SETTLE)
            answer(b"%.9f\n" % seconds)
            continue
        work = operation(requests, *words) if kind == "operation" else product(requests, *map(int, words))
        result = work()
        answer(ctypes.string_at(result.data_ptr(), result.nbytes))


main()
