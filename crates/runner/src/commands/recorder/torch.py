"""Recorder of a PyTorch training, for `evenkeel diagnose --record FILE`.

    from evenkeel_torch import Recorder

    recorder = Recorder(model, optimizer, loss="cross_entropy", classes=10, planned_steps=5000)
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        recorder.step(loss)                     # before any clipping
        optimizer.step()
    recorder.epoch(val_loss, val_accuracy)      # whenever the model was scored

It writes one JSON object per line to `record.jsonl`, and changes no bit of the training. The first
8 steps and every 50th are measured layer by layer and tensor by tensor; all others cost the loss
and the norm of the gradient. Optional, and worth it: `recorder.data(inputs, targets)` before the
training.

- Layers are modules: an activation that is a function, such as `F.relu`, is not seen.
- With a gradient scaler, call `scaler.unscale_(optimizer)` before `recorder.step(loss)`.
- With accumulated gradients, call `recorder.step(loss)` once for each `optimizer.step()`.
- With several processes, record in one of them.
- A model that `torch.compile` has compiled is measured tensor by tensor alone.

Python 3.8, PyTorch 1.13 and NumPy 1.20 or later. Printed by `evenkeel recorder torch`.
"""

import atexit
import json
import math
import warnings

import numpy
import torch

# Kinds of layers, by class. Others have the name of their class, in lower case.
KINDS = {
    "Linear": "dense",
    "Conv1d": "convolution",
    "Conv2d": "convolution",
    "Conv3d": "convolution",
    "ReLU": "relu",
    "ReLU6": "capped_relu",
    "LeakyReLU": "leaky_relu",
    "PReLU": "prelu",
    "ELU": "elu",
    "SELU": "selu",
    "GELU": "gelu",
    "SiLU": "silu",
    "Mish": "mish",
    "Sigmoid": "sigmoid",
    "Hardsigmoid": "hard_sigmoid",
    "Tanh": "tanh",
    "Hardtanh": "hard_tanh",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "LogSoftmax": "log_softmax",
    "Dropout": "dropout",
    "Dropout1d": "dropout",
    "Dropout2d": "dropout",
    "Dropout3d": "dropout",
    "AlphaDropout": "dropout",
    "FeatureAlphaDropout": "dropout",
    "BatchNorm1d": "batch_norm",
    "BatchNorm2d": "batch_norm",
    "BatchNorm3d": "batch_norm",
    "SyncBatchNorm": "batch_norm",
    "LayerNorm": "layer_norm",
    "RMSNorm": "rms_norm",
    "GroupNorm": "group_norm",
    # A group per channel.
    "InstanceNorm1d": "group_norm",
    "InstanceNorm2d": "group_norm",
    "InstanceNorm3d": "group_norm",
    "MaxPool1d": "max_pooling",
    "MaxPool2d": "max_pooling",
    "MaxPool3d": "max_pooling",
    "AvgPool1d": "mean_pooling",
    "AvgPool2d": "mean_pooling",
    "AvgPool3d": "mean_pooling",
    "AdaptiveAvgPool1d": "global_pooling",
    "AdaptiveAvgPool2d": "global_pooling",
    "AdaptiveAvgPool3d": "global_pooling",
    "Flatten": "flatten",
    "Embedding": "embedding",
    "EmbeddingBag": "embedding",
    "RNN": "rnn",
    "LSTM": "lstm",
    "GRU": "gru",
    "RNNCell": "rnn",
    "LSTMCell": "lstm",
    "GRUCell": "gru",
    "MultiheadAttention": "attention",
}

# Blocks whose layers are in the body of a residual connection.
RESIDUAL_BLOCKS = {
    "BasicBlock",
    "Bottleneck",
    "InvertedResidual",
    "CNBlock",
    "TransformerEncoderLayer",
    "TransformerDecoderLayer",
}

# Losses, by class or function, with `True` for those of probabilities rather than logits.
LOSSES = {
    "cross_entropy": ("cross_entropy", False),
    "crossentropyloss": ("cross_entropy", False),
    "nll": ("cross_entropy", False),
    "nll_loss": ("cross_entropy", False),
    "nllloss": ("cross_entropy", False),
    "binary_cross_entropy_with_logits": ("binary_cross_entropy", False),
    "bcewithlogitsloss": ("binary_cross_entropy", False),
    "bce_with_logits": ("binary_cross_entropy", False),
    "binary_cross_entropy": ("binary_cross_entropy", True),
    "bceloss": ("binary_cross_entropy", True),
    "bce": ("binary_cross_entropy", True),
    "mse": ("mse", False),
    "mse_loss": ("mse", False),
    "mseloss": ("mse", False),
    "mae": ("mae", False),
    "l1_loss": ("mae", False),
    "l1loss": ("mae", False),
    "huber": ("huber", False),
    "huber_loss": ("huber", False),
    "huberloss": ("huber", False),
    "smooth_l1_loss": ("huber", False),
    "smoothl1loss": ("huber", False),
    "hinge": ("hinge", False),
    "multi_margin_loss": ("hinge", False),
    "multimarginloss": ("hinge", False),
}

DTYPES = {
    torch.float32: "f32",
    torch.float64: "f64",
    torch.bfloat16: "bf16",
    torch.float16: "f16",
}

# Steps that are not finite and measured all the same.
NON_FINITE = 3

# Magnitude below which numbers of f32 are subnormal.
SMALLEST_NORMAL = 2.0 ** -126


class Recorder:
    """Records a training.

    model           the module that is trained
    optimizer       its optimizer
    loss            name of the loss, its module or its function: "cross_entropy", nn.MSELoss()
    path            file for the record; replaced
    classes         number of classes; 0 for a regression
    planned_steps   steps that the training is to take; 0 if unknown
    task            "classification", "regression" or "reconstruction"; by the loss if `None`
    batch           examples per step; that of the first inputs if 0
    examples        training examples; those of `data` if 0
    clip_norm       limit of the gradient's norm, if the program clips after `step`
    schedule        kind of the learning rate's schedule: "constant", "cosine"
    residual        names of modules whose layers are in the body of a residual connection
    every, first    every so many steps are measured, and the first few
    """

    def __init__(
        self,
        model,
        optimizer,
        loss="cross_entropy",
        path="record.jsonl",
        classes=0,
        planned_steps=0,
        task=None,
        batch=0,
        examples=0,
        clip_norm=None,
        schedule="",
        residual=(),
        every=50,
        first=8,
    ):
        # Wrappers for several processes, and compiled models.
        while True:
            inner = getattr(model, "_orig_mod", None)
            wrappers = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
            if inner is None and isinstance(model, wrappers):
                inner = model.module
            if inner is None:
                break
            model = inner
        self.model, self.optimizer = model, optimizer
        name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
        # A name alone says nothing of probabilities: it is that of a loss of logits.
        self.loss, self._of_probabilities = LOSSES.get(name.lower(), (name.lower(), False))
        if loss == "binary_cross_entropy":
            self._of_probabilities = False
        # Output above which the second of two classes is predicted.
        self._threshold = 0.5 if self._of_probabilities else 0.0
        if self.loss == "binary_cross_entropy":
            classes = max(2, classes)
        if task is None:
            is_regression = classes == 0 and self.loss in ("mse", "mae", "huber")
            task = "regression" if is_regression else "classification"
        self.task, self.classes, self.batch, self.examples = task, classes, batch, examples
        self.planned_steps, self.clip_norm, self.schedule = planned_steps, clip_norm, schedule
        self.residual, self.every, self.first = tuple(residual), max(1, every), first
        self._file = _File(path)
        self._step, self._epoch, self._losses, self._accuracies = 0, 0, [], []
        self._data, self._layers, self._tensors = None, None, None
        # Step whose update is not known yet; parameters before it; gradient before a sampled step.
        self._pending, self._before, self._previous = None, None, None
        self._samples, self._shapes, self._hooks, self._autocast = {}, {}, [], None
        self._inputs, self._is_forced, self._is_spatial = None, False, None
        self._non_finite = 0
        # Tensors with equal units at the first step; `None` before it.
        self._equal = None
        self._sees_updates = hasattr(optimizer, "register_step_post_hook")
        self._updates = 0
        if self._sees_updates:
            optimizer.register_step_post_hook(lambda *_: self._on_update())
        self._listen()
        atexit.register(self.close)

    # --- Calls of the program -----------------------------------------------------------------

    def data(
        self,
        inputs,
        targets,
        validation_inputs=None,
        validation_targets=None,
        shuffled=True,
    ):
        """Records a summary of the data: arrays or tensors `[examples, ...]`, the inputs as the
        model gets them, the targets as the loss gets them. `shuffled` is `False` if the training
        takes the examples in this order."""
        has_classes = self.task == "classification"
        embeddings = (torch.nn.Embedding, torch.nn.EmbeddingBag)
        are_indices = _array(inputs[:1]).dtype.kind in "iu" and any(
            isinstance(module, embeddings) for module in self.model.modules()
        )
        validation = (validation_inputs, validation_targets)
        data = _data(inputs, targets, validation, has_classes, self.classes, shuffled, are_indices)
        self._data = data
        self.examples = self.examples or data["train"]
        if has_classes:
            self.classes = self.classes or len(data["class_counts"])
        if self._layers is not None:
            self._write_data()

    def step(self, loss, outputs=None, targets=None):
        """Records a step: call it after `loss.backward()`, before clipping and before
        `optimizer.step()`. `outputs` and `targets` of the batch give its accuracy."""
        self._settle()
        self._step += 1
        loss = float(loss.detach() if hasattr(loss, "detach") else loss)
        if self._layers is None:
            self._describe()
        named = self._parameters()
        norms = _gradient_norms(named)
        norm = math.sqrt(math.fsum(norm * norm for norm in norms)) if _are_finite(norms) else None
        norm = max((abs(norm) for norm in norms), key=_order) if norm is None else norm
        step = {
            "step": self._step,
            "loss": loss,
            "learning_rate": float(self.optimizer.param_groups[0]["lr"]),
            "grad_norm": norm,
        }
        if self.clip_norm is not None:
            step["clip_scale"] = min(1.0, self.clip_norm / norm) if norm > 0.0 else 1.0
        if outputs is not None and targets is not None and self.task == "classification":
            step["accuracy"] = _accuracy(outputs, targets, self._threshold)
            self._accuracies.append(step["accuracy"])
        self._losses.append(loss)
        is_finite = math.isfinite(loss) and math.isfinite(norm)
        if not is_finite:
            step["non_finite"] = self._locate(named, loss)
            self._non_finite += 1
        is_first = not is_finite and self._non_finite <= NON_FINITE
        if self._is_sampled(self._step) or is_first:
            step["tensors"] = [
                self._tensor_sample(*sample) for sample in zip(self._tensors, named, norms)
            ]
            if self._equal is None:
                samples = zip(self._tensors, step["tensors"])
                self._equal = {t["name"] for t, s in samples if s.get("equal_units")}
            step["layers"] = self._layer_samples()
            if self._previous is not None:
                step["cosine"] = self._cosine(named, norm)
            self._before = [parameter.detach().clone() for _, parameter in named]
        self._previous = None
        if self._is_sampled(self._step + 1):
            gradients = [None if p.grad is None else _dense(p.grad).clone() for _, p in named]
            self._previous = (norm, gradients)
        if self._step == 1:
            self._file.write(
                "initial",
                {
                    "loss": loss,
                    "grad_norm": norm,
                    "layers": step.get("layers", []),
                    "tensors": step.get("tensors", []),
                },
            )
        self._is_forced = is_first
        self._samples = {}
        self._listen()
        self._pending = step

    def epoch(
        self,
        val_loss=None,
        val_accuracy=None,
        train_loss=None,
        train_accuracy=None,
        predictions=None,
        labels=None,
    ):
        """Records scores of the model on the validation set, after an epoch or any number of
        steps. `predictions` and `labels` of its examples, classes or a value per class, give the
        predictions per class."""
        self._settle()
        self._epoch += 1
        number = lambda value: None if value is None else float(value)
        epoch = {
            "epoch": self._epoch,
            "step": self._step,
            "train_loss": number(train_loss),
            "train_accuracy": number(train_accuracy),
            "val_loss": number(val_loss),
            "val_accuracy": number(val_accuracy),
        }
        if train_loss is None and self._losses:
            epoch["train_loss"] = sum(self._losses) / len(self._losses)
        if train_accuracy is None and self._accuracies:
            epoch["train_accuracy"] = sum(self._accuracies) / len(self._accuracies)
        if predictions is not None and labels is not None and self.task == "classification":
            epoch.update(_scores(predictions, labels, self.classes, self._threshold))
        self._losses, self._accuracies = [], []
        self._file.write("epoch", epoch)

    def close(self):
        """Writes the last step, and closes the file. Called at the end of the process, too."""
        if self._pending is not None:
            self._file.write("step", self._pending)
            self._pending = None
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        self._file.close()
        atexit.unregister(self.close)

    # --- Updates ------------------------------------------------------------------------------

    def _on_update(self):
        """Called after each step of the optimizer."""
        self._updates += 1
        if self._pending is None:
            if self._step == 0 and self._updates == 1:
                warnings.warn("evenkeel: call recorder.step(loss) before optimizer.step()")
            return
        self._measure_update()
        self._write_step()

    def _settle(self):
        """Ends the step before, if its update was not seen."""
        if self._pending is None:
            return
        is_changed = self._measure_update()
        # A gradient scaler skips the optimizer's step if the gradient is not finite.
        if self._sees_updates and (self._updates > 0 if is_changed is None else not is_changed):
            self._pending["skipped"] = True
        self._write_step()

    def _write_step(self):
        self._file.write("step", self._pending)
        self._pending, self._before = None, None

    def _measure_update(self):
        """Norms of the pending step's update. `True` if there was one, `None` if unknown."""
        if self._before is None:
            return None
        is_changed = False
        for sample, (_, parameter), before in zip(
            self._pending["tensors"], self._parameters(), self._before
        ):
            norm = _tensor_norm(parameter.detach() - before)
            sample["update_norm"] = norm
            is_changed |= norm != 0.0
        return is_changed

    # --- Layers -------------------------------------------------------------------------------

    def _is_sampled(self, step):
        return self._is_forced or step <= self.first or step % self.every == 0

    def _listen(self):
        """Measures the layers' outputs in the next step if it is sampled, and only then."""
        is_sampled = self._is_sampled(self._step + 1)
        if is_sampled and not self._hooks:
            for name, module in _layers(self.model).items():
                hook = lambda module, inputs, outputs, name=name: self._on_outputs(
                    name, module, inputs, outputs
                )
                self._hooks.append(module.register_forward_hook(hook))
        elif not is_sampled:
            for hook in self._hooks:
                hook.remove()
            self._hooks = []

    def _on_outputs(self, name, module, inputs, outputs):
        if not torch.is_grad_enabled():
            return
        source, outputs = _first_tensor(inputs), _first_tensor(outputs)
        if outputs is None or outputs.dim() == 0:
            return
        if self._layers is None:
            self._autocast = self._autocast or _autocast_dtype(outputs)
            if not self._shapes and source is not None:
                self._inputs = source.detach()
            # In the order of execution.
            examples_axis = 0 if getattr(module, "batch_first", True) else outputs.dim() - 2
            examples = max(1, outputs.shape[examples_axis])
            self.batch = self.batch or examples
            count = lambda tensor: 0 if tensor is None else tensor.numel() // examples
            shape = (count(source), count(outputs), outputs.shape)
            self._shapes.setdefault(name, shape)
        kind = _kind(module)
        with torch.no_grad():
            values = outputs.detach()
            if not getattr(module, "batch_first", True) and values.dim() == 3:
                values = values.transpose(0, 1)
            if values.dim() == 1:
                values = values[:, None]
            values = values[: _rows(values)]
            if values.is_floating_point():
                values = values.to("cpu").double().numpy()
                axis = self._unit_axis(kind, values.ndim)
                self._samples[name] = _layer_sample(values, axis, kind)

    def _unit_axis(self, kind, dims):
        """Axis of the channels: the first after the examples behind convolutions."""
        if kind == "convolution" or kind.startswith("convtranspose"):
            self._is_spatial = True
        elif kind in ("dense", "flatten", "embedding", "layer_norm", "rnn", "lstm", "gru"):
            self._is_spatial = False
        is_spatial = dims >= 4 if self._is_spatial is None else self._is_spatial
        return 1 if is_spatial and dims >= 3 else dims - 1

    def _layer_samples(self):
        if not self._samples:
            return []
        return [self._samples.get(layer["name"], {}) for layer in self._layers]

    # --- Description --------------------------------------------------------------------------

    def _parameters(self):
        """Names and parameters, in the order of their layers."""
        if self._tensors is None:
            return list(self.model.named_parameters())
        parameters = dict(self.model.named_parameters())
        return [(tensor["name"], parameters[tensor["name"]]) for tensor in self._tensors]

    def _describe(self):
        """Writes the model, and the data if they are known."""
        modules = dict(self.model.named_modules())
        registered = list(_layers(self.model))
        with_parameters = {
            self._owner(name, registered) for name, _ in self.model.named_parameters()
        }
        order = list(self._shapes) or registered
        # Modules that own parameters but were not called: after the one registered before them, but
        # never after the output layer.
        output = [name for name in order if name and name in with_parameters][-1:]
        for index, name in enumerate(registered):
            if name in with_parameters and name not in order:
                before = [order.index(other) for other in registered[:index] if other in order]
                latest = order.index(output[0]) if output else len(order)
                order.insert(min(before[-1] + 1 if before else 0, latest), name)
        if self._of_probabilities and order and _kind(modules[order[-1]]) == "sigmoid":
            # It belongs to the loss.
            order.pop()
        self._layers = [self._layer(name, modules, name in output) for name in order]
        self._tensors = self._describe_tensors(order, modules)
        parameters = [parameter for _, parameter in self.model.named_parameters()]
        dtype = DTYPES.get(parameters[0].dtype, "") if parameters else ""
        self._file.write(
            "model",
            {
                "format": FORMAT,
                "task": self.task,
                "classes": self.classes,
                "loss": self.loss,
                "optimizer": _describe_optimizer(self.optimizer),
                "learning_rate": float(self.optimizer.param_groups[0]["lr"]),
                "schedule": self.schedule,
                "clip": None
                if self.clip_norm is None
                else {"kind": "global_norm", "limit": self.clip_norm},
                "batch": self.batch,
                "examples": self.examples,
                "planned_steps": self.planned_steps,
                "dtype": DTYPES.get(self._autocast, dtype),
                "parameter_dtype": dtype,
                "layers": self._layers,
                "tensors": self._tensors,
            },
        )
        self._write_data()

    def _write_data(self):
        data = self._data
        if data is None and self._inputs is not None and self._inputs.is_floating_point():
            # Without a call of `data`: the scale of the first batch.
            inputs = _array(self._inputs).astype(numpy.float64)
            with numpy.errstate(all="ignore"):
                data = {
                    "inputs": math.prod(inputs.shape[1:]),
                    "min": inputs.min(),
                    "max": inputs.max(),
                    "mean": inputs.mean(),
                    "rms": numpy.sqrt((inputs ** 2).mean()),
                    "non_finite": (~numpy.isfinite(inputs)).sum(),
                }
        self._inputs = None
        if data is not None:
            self._file.write("data", {**data, "standardised": _is_standardised(self._layers)})

    def _owner(self, parameter, layers):
        """Name of the innermost layer that a parameter belongs to."""
        owners = [name for name in layers if not name or parameter.startswith(name + ".")]
        return max(owners, key=len) if owners else ""

    def _layer(self, name, modules, is_last):
        module = modules[name]
        inputs, outputs, shape = self._shapes.get(name, (0, 0, ()))
        if is_last and outputs != self.classes and self.classes in shape[1:]:
            # A prediction per position rather than per example.
            outputs = 0
        parents = [modules[parent] for parent in _prefixes(name) if parent in modules]
        residual = any(type(parent).__name__ in RESIDUAL_BLOCKS for parent in parents) or any(
            name == prefix or name.startswith(prefix + ".") for prefix in self.residual
        )
        kind = _kind(module)
        layer = {"name": name or "model", "kind": kind, "inputs": inputs, "outputs": outputs}
        dropout = getattr(module, "p", None) if kind == "dropout" else None
        return {**layer, "residual": residual, "dropout": dropout}

    def _describe_tensors(self, order, modules):
        trained = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
        tensors = []
        for name, parameter in self.model.named_parameters():
            owner = self._owner(name, order)
            layer = order.index(owner) if owner in order else 0
            kind = _kind(modules[owner])
            shape = parameter.shape
            known = kind in ("dense", "convolution") or kind.startswith("convtranspose")
            is_weight = len(shape) > 1 and kind not in NORMALISATIONS and (known or shape[0] > 1)
            units = _units(parameter, kind) if is_weight else 0
            tensor = {
                "name": name,
                "layer": layer,
                "elements": parameter.numel(),
                "fan_in": parameter.numel() // max(1, units) if is_weight else 0,
                "fan_out": units,
                "weight": is_weight,
                "frozen": not parameter.requires_grad or id(parameter) not in trained,
            }
            tensors.append(tensor)
        return sorted(tensors, key=lambda tensor: tensor["layer"])

    # --- Tensors ------------------------------------------------------------------------------

    def _tensor_sample(self, tensor, named, norm):
        name, parameter = named
        sample = {"param_norm": _tensor_norm(parameter)}
        if tensor["weight"] and (self._equal is None or name in self._equal):
            kind = self._layers[tensor["layer"]]["kind"]
            sample["equal_units"] = _equal_units(_array(_unit_rows(parameter.detach(), kind)))
        if not tensor["frozen"]:
            sample["grad_norm"] = norm
            if parameter.grad is None:
                sample["zero"] = parameter.numel()
            else:
                gradient = _dense(parameter.grad)
                sample["non_finite"] = int((~torch.isfinite(gradient)).sum())
                sample["zero"] = int((gradient == 0).sum())
                is_subnormal = (gradient != 0) & (gradient.abs() < SMALLEST_NORMAL)
                sample["subnormal"] = int(is_subnormal.sum())
        return sample

    def _cosine(self, named, norm):
        """Cosine of the angle between this gradient and that of the step before."""
        previous_norm, previous = self._previous
        if not (0.0 < norm < math.inf and 0.0 < previous_norm < math.inf):
            return None
        product = 0.0
        for (_, parameter), other in zip(named, previous):
            if parameter.grad is not None and other is not None:
                gradient = _dense(parameter.grad) / norm
                product += float((gradient * (other / previous_norm)).sum())
        return product if math.isfinite(product) else None

    def _locate(self, named, loss):
        """First non-finite value of the step, as far as it is known."""
        first = lambda values: int((~torch.isfinite(values.reshape(-1))).nonzero()[0])
        for name, parameter in named:
            if not torch.isfinite(parameter.detach()).all():
                element = first(parameter.detach())
                return {"name": name, "operation": "parameters", "element": element}
        for layer in self._layers:
            mean = self._samples.get(layer["name"], {}).get("mean")
            if mean is not None and not math.isfinite(mean):
                return {"name": layer["name"], "operation": "outputs"}
        if not math.isfinite(loss):
            return {"name": self.loss, "operation": "loss"}
        # Backward goes from the last layer to the first.
        for name, parameter in reversed(named):
            if parameter.grad is not None and not torch.isfinite(_dense(parameter.grad)).all():
                element = first(_dense(parameter.grad))
                return {"name": name, "operation": "gradient", "element": element}
        return None


def _layers(model):
    """Modules that are listed, by name. Parts of a known one, such as attention, are not."""
    layers, whole = {}, []
    for name, module in model.named_modules():
        is_within = any(name.startswith(prefix) for prefix in whole)
        if not is_within and _is_layer(module):
            layers[name] = module
            if name and _known_kind(module) is not None:
                whole.append(name + ".")
    return layers


def _is_layer(module):
    """`True` for a module that is listed: a known one, or one without parts or with parameters of
    its own."""
    if isinstance(module, torch.nn.modules.loss._Loss):
        return False
    is_part = not any(module.children()) or any(True for _ in module.parameters(recurse=False))
    containers = (torch.nn.Sequential, torch.nn.ModuleList, torch.nn.ModuleDict)
    return not isinstance(module, containers) and (is_part or _known_kind(module) is not None)


def _known_kind(module):
    for parent in type(module).__mro__:
        kind = KINDS.get(parent.__name__)
        if kind is not None and parent.__module__.startswith("torch."):
            return kind
    return None


def _kind(module):
    kind = _known_kind(module)
    if kind == "gelu" and getattr(module, "approximate", "none") == "tanh":
        return "gelu_tanh"
    if kind == "global_pooling" and not _is_one(module.output_size):
        return "mean_pooling"
    return kind or type(module).__name__.lower()


def _is_one(size):
    return all(part == 1 for part in size) if isinstance(size, (tuple, list)) else size == 1


def _prefixes(name):
    """Names of a module and of those that it is within, from the outermost."""
    parts = name.split(".")
    return [""] + [".".join(parts[: count + 1]) for count in range(len(parts))]


def _first_tensor(values):
    """First tensor of a module's inputs or outputs."""
    if isinstance(values, torch.Tensor):
        return values
    if isinstance(values, dict):
        values = list(values.values())
    if isinstance(values, (tuple, list)):
        for value in values:
            tensor = _first_tensor(value)
            if tensor is not None:
                return tensor
    return None


def _autocast_dtype(outputs):
    """Type of the products' operands, if it is not that of the parameters."""
    return outputs.dtype if outputs.dtype in (torch.bfloat16, torch.float16) else None


def _dense(values):
    """`values` as a real, dense tensor: all elements of a sparse one that are stored."""
    values = values.detach()
    if values.is_sparse:
        values = values.coalesce().values()
    if values.is_complex():
        values = torch.view_as_real(values)
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def _tensor_norm(values):
    """L2 norm, without overflow or underflow of the squares."""
    values = _dense(values)
    if values.numel() == 0:
        return 0.0
    norm = float(torch.linalg.vector_norm(values))
    if norm < 1e-15 or not math.isfinite(norm):
        largest = float(values.abs().max())
        if 0.0 < largest < math.inf:
            return largest * float(torch.linalg.vector_norm(values.double().cpu() / largest))
    return norm


def _gradient_norms(named):
    """L2 norm of each parameter's gradient; 0 without one. One transfer from the device."""
    gradients = [p.grad for _, p in named]
    norms = [0.0] * len(gradients)
    known = [index for index, gradient in enumerate(gradients) if gradient is not None]
    if known:
        each = [torch.linalg.vector_norm(_dense(gradients[index])).float() for index in known]
        for index, norm in zip(known, torch.stack([n.to(each[0].device) for n in each]).tolist()):
            is_safe = math.isfinite(norm) and norm >= 1e-15
            norms[index] = norm if is_safe else _tensor_norm(gradients[index])
    return norms


def _are_finite(norms):
    return all(math.isfinite(norm) for norm in norms)


def _order(value):
    """Key by which NaN is the largest number."""
    return (math.isnan(value), value)


def _unit_rows(parameter, kind):
    """Weights of each unit: `[units, fan_in]`."""
    if kind.startswith("convtranspose"):
        parameter = parameter.transpose(0, 1)
    elif kind == "embedding":
        parameter = parameter.t()
    return parameter.reshape(parameter.shape[0], -1)


def _units(parameter, kind):
    is_transposed = kind.startswith("convtranspose") or kind == "embedding"
    return parameter.shape[1 if is_transposed else 0]


def _accuracy(outputs, targets, threshold):
    outputs, targets = outputs.detach(), targets.detach()
    if outputs.shape == targets.shape and not outputs.is_floating_point():
        correct = outputs == targets
    elif outputs.dim() == targets.dim() + 1 and outputs.shape[-1] > 1:
        axis = -1 if outputs.shape[:-1] == targets.shape else 1
        correct = outputs.argmax(axis) == targets
    elif outputs.shape == targets.shape and outputs.dim() > 1 and outputs.shape[-1] > 1:
        correct = outputs.argmax(-1) == targets.argmax(-1)
    else:
        correct = (outputs.reshape(-1) > threshold) == (targets.reshape(-1) > 0.5)
    return float(correct.double().mean())


def _describe_optimizer(optimizer):
    group = optimizer.param_groups[0]
    betas = group.get("betas") or (None, None)
    return {
        "kind": type(optimizer).__name__.lower(),
        "momentum": group.get("momentum"),
        "beta1": betas[0],
        "beta2": betas[1],
        "epsilon": group.get("eps"),
        "weight_decay": group.get("weight_decay"),
    }
