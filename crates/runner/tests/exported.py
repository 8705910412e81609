"""Compares an exported run with its dump, RUN.safetensors, written by `evenkeel dump RUN`.

Usage: python exported.py RUN

RUN/model.onnx must pass ONNX's full checker. Its logits in ONNX Runtime must have the declared and
the dumped shape, and differ from the dumped logits by less than 1e-5. Tensors of RUN/model.npz must
have the bits of the dumped ones.
"""

import json
import struct
import sys

import numpy
import onnx
import onnxruntime

TYPES = {"F32": numpy.float32, "F64": numpy.float64, "I64": numpy.int64}


def safetensors(path):
    with open(path, "rb") as file:
        data = file.read()
    (length,) = struct.unpack("<Q", data[:8])
    tensors = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            flat = numpy.frombuffer(data[8 + length :][start:end], TYPES[entry["dtype"]])
            tensors[name] = flat.reshape(entry["shape"])
    return tensors


run = sys.argv[1]
dump = safetensors(run + ".safetensors")
onnx.checker.check_model(onnx.load(run + "/model.onnx"), full_check=True)
session = onnxruntime.InferenceSession(run + "/model.onnx", providers=["CPUExecutionProvider"])
shape = session.get_inputs()[0].shape
inputs = dump["inputs"].reshape(-1, *shape[1:])
(logits,) = session.run(None, {session.get_inputs()[0].name: inputs})
declared = session.get_outputs()[0].shape
assert logits.shape == dump["logits"].shape, f"{logits.shape}, not {dump['logits'].shape}"
assert declared == ["n", *logits.shape[1:]], f"declared {declared}, computed {logits.shape}"
difference = abs(logits - dump["logits"]).max()
assert difference < 1e-5, f"logits differ by {difference}"

arrays = numpy.load(run + "/model.npz")
prefix = "param."
parameters = {
    name.removeprefix(prefix): value for name, value in dump.items() if name.startswith(prefix)
}
assert set(parameters) <= set(arrays.files), set(parameters) - set(arrays.files)
for name, value in parameters.items():
    assert numpy.array_equal(arrays[name], value), f"{name} differs"
