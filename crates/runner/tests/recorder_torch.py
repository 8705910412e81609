"""Trains a small network on generated examples with the recorder of `evenkeel recorder torch`.

usage: recorder_torch.py FOLDER CASE

FOLDER has `evenkeel_torch.py`; the record is `CASE.jsonl`. Each case is trained with and without the
recorder, and must end with the same parameters.
"""

import os
import sys

import numpy
import torch
from torch import nn

folder, case = sys.argv[1:]
sys.path.insert(0, folder)
import evenkeel_torch

torch.set_num_threads(1)
CLASSES, WIDTH, BATCH = 4, 20, 32
EPOCHS = 1 if case == "layers" else 4


def examples(count, seed):
    random = numpy.random.default_rng(seed)
    centres = numpy.random.default_rng(5).normal(size=(CLASSES, WIDTH)) * 1.2
    labels = random.integers(0, CLASSES, count)
    inputs = centres[labels] + random.normal(size=(count, WIDTH))
    return torch.tensor(inputs, dtype=torch.float32), torch.tensor(labels)


def network():
    if case == "layers":
        return Layers()
    return nn.Sequential(
        nn.Linear(WIDTH, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, CLASSES)
    )


class Layers(nn.Module):
    """One of many kinds of layers, some shared, unused, frozen or behind a wrapper."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(12, CLASSES)
        self.unused = nn.Linear(3, 3)
        self.embedding = nn.Embedding(7, 12)
        self.places = nn.Parameter(torch.randn(1, WIDTH, 12))
        self.encoder = nn.TransformerEncoderLayer(12, 2, 24, dropout=0.1, batch_first=True)
        self.mixed = nn.Sequential(
            nn.Conv1d(12, 8, 3, padding=1), nn.BatchNorm1d(8), nn.Tanh(),
            nn.ConvTranspose1d(8, 6, 2, stride=2), nn.GroupNorm(2, 6), nn.GELU(),
        )
        self.recurrent = nn.LSTM(6, 12)
        self.frozen = nn.Linear(12, 12).requires_grad_(False)
        self.pool = nn.AdaptiveAvgPool1d(1)

    def forward(self, inputs):
        x = self.embedding(inputs.abs().long() % 7) + self.places
        x = self.mixed(self.encoder(x).transpose(1, 2))
        x, _ = self.recurrent(x.permute(2, 0, 1))
        x = self.pool(x.permute(1, 2, 0)).flatten(1)
        return self.last(self.frozen(x))


def train(is_recorded):
    torch.manual_seed(0)
    model = network()
    for layer in model.modules():
        if isinstance(layer, nn.Linear) and case in ("zero", "equal"):
            nn.init.constant_(layer.weight, 0.0 if case == "zero" else 0.05)
            nn.init.zeros_(layer.bias)
    rate = 1e3 if case == "rate" else 0.05
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.5)
    criterion = nn.CrossEntropyLoss()
    inputs, labels = examples(320 if case == "layers" else 2000, 0)
    val_inputs, val_labels = examples(500, 1)
    steps = len(inputs) // BATCH
    if is_recorded:
        recorder = evenkeel_torch.Recorder(
            model,
            optimizer,
            loss=criterion,
            path=os.path.join(folder, case + ".jsonl"),
            classes=CLASSES,
            planned_steps=EPOCHS * steps,
        )
        if case != "layers":
            recorder.data(inputs, labels, val_inputs, val_labels)
    order = numpy.random.default_rng(2)
    for _ in range(EPOCHS):
        model.train()
        for batch in torch.tensor(order.permutation(len(inputs))[: steps * BATCH]).split(BATCH):
            optimizer.zero_grad()
            outputs = model(inputs[batch])
            loss = criterion(outputs, labels[batch])
            loss.backward()
            if is_recorded:
                recorder.step(loss, outputs, labels[batch])
            optimizer.step()
        model.eval()
        with torch.no_grad():
            outputs = model(val_inputs)
            val_loss = criterion(outputs, val_labels)
            val_accuracy = (outputs.argmax(1) == val_labels).double().mean()
        if is_recorded:
            recorder.epoch(val_loss, val_accuracy, predictions=outputs, labels=val_labels)
    return [parameter.detach().numpy() for parameter in model.parameters()]


for one, other in zip(train(True), train(False)):
    numpy.testing.assert_array_equal(one, other)
