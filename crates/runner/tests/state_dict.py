"""Exchanges weights between evenkeel and PyTorch.

Usage: python state_dict.py FOLDER

FOLDER has a run, `source`, and its dump, `source.safetensors`. The run's model must load into
PyTorch's modules and give the dumped logits. Then the state dict of other weights is written in
four types. layers.TYPE.safetensors is that of a module with a sequence `layers`,
bare.TYPE.safetensors that of the sequence alone; expected.TYPE.safetensors has its values as f32.
"""

import sys

import torch
from safetensors.torch import load_file, save_file

folder = sys.argv[1].rstrip("/")


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(36, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 3)
        )

    def forward(self, x):
        return self.layers(x)


network = Network().eval()
network.load_state_dict(load_file(folder + "/source/model.safetensors"), strict=True)
dump = load_file(folder + "/source.safetensors")
logits = network(dump["inputs"].reshape(-1, 36))
difference = (logits - dump["logits"]).abs().max().item()
assert difference < 1e-5, f"logits differ by {difference}"

torch.manual_seed(1)
other = Network()
for dtype in ["float64", "float32", "float16", "bfloat16"]:
    state = other.to(getattr(torch, dtype)).state_dict()
    save_file(state, f"{folder}/layers.{dtype}.safetensors")
    bare = {name.removeprefix("layers."): value for name, value in state.items()}
    save_file(bare, f"{folder}/bare.{dtype}.safetensors")
    expected = {name: value.float() for name, value in state.items() if value.is_floating_point()}
    save_file(expected, f"{folder}/expected.{dtype}.safetensors")
