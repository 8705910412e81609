"""Multiplies matrices of bf16 with PyTorch on request: the process behind `pytorch.rs`. The argument: how many threads.

"product M N K A_TRANSPOSED B_TRANSPOSED" and the bytes of A and B, row after row as stored: answers with the bytes of C.
"time TIMES": that product again, so often; answers with the seconds of all of them.
"""

import ctypes
import sys
import time

import torch

# How long a thread of PyTorch's may go on looking for work: it must not slow down whoever is measured next.
SETTLE = 0.005


def matrix(requests, rows, cols, transposed):
    data = bytearray(requests.read(2 * rows * cols))
    stored = torch.frombuffer(data, dtype=torch.bfloat16).clone()
    return stored.view(cols, rows).t() if transposed else stored.view(rows, cols)


def main():
    torch.set_num_threads(int(sys.argv[1]))
    torch.set_grad_enabled(False)
    requests, answers = sys.stdin.buffer, sys.stdout.buffer

    def answer(data):
        answers.write(data)
        answers.flush()

    answer(b"ready\n")
    a = b = c = None
    for line in iter(requests.readline, b""):
        kind, *numbers = line.split()
        numbers = [int(number) for number in numbers]
        if kind == b"product":
            m, n, k, a_transposed, b_transposed = numbers
            a, b = matrix(requests, m, k, a_transposed), matrix(requests, k, n, b_transposed)
            c = torch.empty(m, n, dtype=torch.bfloat16)
            torch.mm(a, b, out=c)
            answer(ctypes.string_at(c.data_ptr(), 2 * m * n))
        else:
            start = time.perf_counter()
            for _ in range(numbers[0]):
                torch.mm(a, b, out=c)
            seconds = time.perf_counter() - start
            time.sleep(SETTLE)
            answer(b"%.9f\n" % seconds)


main()
