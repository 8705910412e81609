"""Recorder of a Keras training, for `evenkeel diagnose --record FILE`.

    from evenkeel_keras import Recorder

    recorder = Recorder("record.jsonl", classes=10, probe=inputs[:128])
    recorder.data(inputs, targets, validation_inputs, validation_targets)       # optional
    model.fit(inputs, targets, validation_data=..., callbacks=[recorder])

A callback. It writes one JSON object per line, and changes no result of the training. The first 8
steps and every 50th are measured tensor by tensor, and layer by layer if there is a probe.

What is recorded, and what is not:

- Loss and accuracy of each step: from the means over the epoch so far, which Keras gives callbacks,
  so that they are exact to some 1e-7 times the number of the step in its epoch.
- Parameters and updates of the sampled steps, learning rate, scores of each epoch.
- Outputs of the layers: those for the fixed inputs `probe`, in inference mode, before the step.
- Gradients: callbacks do not see them. With the backends TensorFlow and PyTorch, the recorder
  wraps the method `apply` of the model's optimizer until the training ends, and sees what `fit` and
  custom training steps pass to it, before clipping. With JAX, or with `gradients=False`, there are
  none, and rules on gradients find nothing.
- Losses, metrics and optimizers of models with several outputs, and distribution strategies, were
  not considered.

Keras 3 and its NumPy. Printed by `evenkeel recorder keras`.
"""

import atexit
import json
import math

import keras
import numpy
from keras import ops

# Kinds of layers, by class. Others have the name of their class, in lower case.
KINDS = {
    "Dense": "dense",
    "EinsumDense": "dense",
    "Conv1D": "convolution",
    "Conv2D": "convolution",
    "Conv3D": "convolution",
    "LeakyReLU": "leaky_relu",
    "PReLU": "prelu",
    "ELU": "elu",
    "Dropout": "dropout",
    "SpatialDropout1D": "dropout",
    "SpatialDropout2D": "dropout",
    "SpatialDropout3D": "dropout",
    "AlphaDropout": "dropout",
    "BatchNormalization": "batch_norm",
    "LayerNormalization": "layer_norm",
    "RMSNormalization": "rms_norm",
    "GroupNormalization": "group_norm",
    "Normalization": "standardise",
    "MaxPooling1D": "max_pooling",
    "MaxPooling2D": "max_pooling",
    "MaxPooling3D": "max_pooling",
    "AveragePooling1D": "mean_pooling",
    "AveragePooling2D": "mean_pooling",
    "AveragePooling3D": "mean_pooling",
    "GlobalAveragePooling1D": "global_pooling",
    "GlobalAveragePooling2D": "global_pooling",
    "GlobalAveragePooling3D": "global_pooling",
    "GlobalMaxPooling1D": "global_pooling",
    "GlobalMaxPooling2D": "global_pooling",
    "GlobalMaxPooling3D": "global_pooling",
    "Flatten": "flatten",
    "Embedding": "embedding",
    "SimpleRNN": "rnn",
    "LSTM": "lstm",
    "GRU": "gru",
    "MultiHeadAttention": "attention",
    "GroupedQueryAttention": "attention",
}

# Kinds of activations, by the name of their function. Others keep that name.
FUNCTIONS = {
    "relu6": "capped_relu",
    "swish": "silu",
}

LOSSES = {
    "sparse_categorical_crossentropy": "cross_entropy",
    "sparsecategoricalcrossentropy": "cross_entropy",
    "categorical_crossentropy": "cross_entropy",
    "categoricalcrossentropy": "cross_entropy",
    "binary_crossentropy": "binary_cross_entropy",
    "binarycrossentropy": "binary_cross_entropy",
    "mean_squared_error": "mse",
    "meansquarederror": "mse",
    "mean_absolute_error": "mae",
    "meanabsoluteerror": "mae",
    "categorical_hinge": "hinge",
    "categoricalhinge": "hinge",
}

# Parameters of layers that are not trained if their layer is frozen. Other variables are state.
PARAMETERS = {
    "kernel",
    "bias",
    "gamma",
    "beta",
    "scale",
    "alpha",
    "embeddings",
    "recurrent_kernel",
    "depthwise_kernel",
    "pointwise_kernel",
}

ACCURACIES = (
    "accuracy",
    "acc",
    "sparse_categorical_accuracy",
    "categorical_accuracy",
    "binary_accuracy",
)

# Magnitude below which numbers of f32 are subnormal.
SMALLEST_NORMAL = 2.0 ** -126


class Recorder(keras.callbacks.Callback):
    """Records a training.

    path            file for the record; replaced
    classes         number of classes; 0 for a regression
    probe           inputs `[examples, ...]`, some hundred, for which layers' outputs are measured
    loss            "cross_entropy", "binary_cross_entropy", "mse", ...; the compiled one if `None`
    task            "classification", "regression" or "reconstruction"; by the loss if `None`
    batch           examples per step; by the examples and steps of an epoch if 0
    examples        training examples; those of `data` if 0
    schedule        kind of the learning rate's schedule: "constant", "cosine"
    residual        names of layers in the body of a residual connection
    gradients       measure gradients, where the backend lets a callback see them
    every, first    every so many steps are measured, and the first few
    """

    def __init__(
        self,
        path="record.jsonl",
        classes=0,
        probe=None,
        loss=None,
        task=None,
        batch=0,
        examples=0,
        schedule="",
        residual=(),
        gradients=True,
        every=50,
        first=8,
    ):
        super().__init__()
        self._file = _File(path)
        self.classes, self.loss, self.task, self.batch = classes, loss, task, batch
        self.examples, self.schedule, self.residual = examples, schedule, set(residual)
        self.probe = None if probe is None else probe[:ROWS]
        self.every, self.first = max(1, every), first
        self._wants_gradients = gradients and keras.config.backend() in ("tensorflow", "torch")
        self._gradients = None
        self._step, self._epoch = 0, 0
        self._data_of, self._data, self._layers, self._tensors = None, None, None, None
        # Mean over the steps of the epoch so far, and their number.
        self._means, self._count = {}, 0
        self._before, self._sample, self._rate = None, {}, None
        self._previous_norm = None
        # Inputs of fused activations, while the probe runs.
        self._unactivated = {}
        atexit.register(self.close)

    def data(
        self,
        inputs,
        targets,
        validation_inputs=None,
        validation_targets=None,
        shuffled=True,
    ):
        """Records a summary of the data: arrays `[examples, ...]`, the inputs as the model gets
        them, the targets as the loss gets them. `shuffled` is `False` if the training takes the
        examples in this order. Call it before the training."""
        validation = (_array(validation_inputs), _array(validation_targets))
        self._data_of = (_array(inputs), _array(targets), validation, shuffled)

    def close(self):
        """Closes the file. Called at the end of the process, too."""
        self._file.close()
        atexit.unregister(self.close)

    # --- Callback -----------------------------------------------------------------------------

    def on_train_begin(self, logs=None):
        if self._layers is None:
            self._describe()
        if self._wants_gradients and self.model.trainable_variables:
            self._gradients = _Gradients(self.model)

    def on_train_end(self, logs=None):
        if self._gradients is not None:
            self._gradients.end()
            self._gradients = None

    def on_epoch_begin(self, epoch, logs=None):
        self._means, self._count = {}, 0

    def on_train_batch_begin(self, batch, logs=None):
        is_sampled = self._is_sampled(self._step + 1)
        self._sample = {}
        if is_sampled or keras.config.backend() != "jax":
            self._synchronise()
            self._rate = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
        if self._gradients is not None:
            self._gradients.begin(is_sampled, self._is_sampled(self._step + 2))
        if is_sampled:
            self._before = [ops.convert_to_numpy(variable) for variable in self._variables]
            self._sample["layers"] = self._probe()

    def on_train_batch_end(self, batch, logs=None):
        logs = logs or {}
        taken = batch + 1 - self._count
        accuracy_key = next((key for key in ACCURACIES if key in logs), None)
        loss = self._of_step("loss", logs.get("loss"), batch + 1)
        accuracy = self._of_step("accuracy", logs.get(accuracy_key), batch + 1)
        self._count = batch + 1
        # Several, if each call of the compiled function takes several.
        self._step += taken
        step = {
            "step": self._step,
            "loss": loss,
            "accuracy": accuracy,
            "learning_rate": self._rate,
        }
        stats = None if self._gradients is None else self._gradients.stats()
        if stats is not None:
            norm = _norm([row[0] for row in stats])
            if not all(math.isfinite(row[0]) for row in stats):
                norm = math.nan
            step["grad_norm"] = norm
            if self._clip is not None and self._clip["kind"] == "global_norm":
                step["clip_scale"] = min(1.0, self._clip["limit"] / norm) if norm > 0.0 else 1.0
        if self._before is not None:
            self._measure(step, stats)
        self._previous_norm = step.get("grad_norm")
        if self._step == taken:
            self._file.write(
                "initial",
                {
                    "loss": loss,
                    "grad_norm": step.get("grad_norm"),
                    "layers": step.get("layers", []),
                    "tensors": step.get("tensors", []),
                },
            )
        self._file.write("step", step)
        self._before = None

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        self._epoch += 1
        accuracy = next((key for key in ACCURACIES if key in logs), "accuracy")
        self._file.write(
            "epoch",
            {
                "epoch": self._epoch,
                "step": self._step,
                "train_loss": logs.get("loss"),
                "train_accuracy": logs.get(accuracy),
                "val_loss": logs.get("val_loss"),
                "val_accuracy": logs.get("val_" + accuracy),
            },
        )

    # --- Measurements -------------------------------------------------------------------------

    def _is_sampled(self, step):
        return step <= self.first or step % self.every == 0

    def _synchronise(self):
        """With JAX, variables are updated at the end of an epoch, or when they are asked for."""
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()

    def _of_step(self, name, mean, count):
        """Value of the steps since the last call, from the `mean` over `count` steps."""
        if mean is None:
            return None
        mean, before = float(mean), self._means.get(name, 0.0)
        self._means[name] = mean
        if self._count == 0:
            return mean
        return (count * mean - self._count * before) / (count - self._count)

    def _measure(self, step, stats):
        """Adds the measurements of a sampled step."""
        self._synchronise()
        tensors = []
        for index, (variable, before) in enumerate(zip(self._variables, self._before)):
            after = ops.convert_to_numpy(variable)
            with numpy.errstate(all="ignore"):
                update = after.astype(numpy.float64) - before
            sample = {"param_norm": _norm(before), "update_norm": _norm(update)}
            tensor = self._tensors[index]
            if tensor["weight"] and (self._step == 1 or tensor["name"] in self._equal):
                sample["equal_units"] = _equal_units(before.reshape(-1, tensor["fan_out"]).T)
                if sample["equal_units"]:
                    self._equal.add(tensor["name"])
            slot = self._slots.get(id(variable))
            if stats is not None and slot is not None:
                sample["grad_norm"] = stats[slot][0]
                for name, count in zip(("non_finite", "zero", "subnormal"), stats[slot][1:4]):
                    sample[name] = int(count)
            tensors.append(sample)
        step["tensors"], step["layers"] = tensors, self._sample.get("layers", [])
        if stats is not None and self._previous_norm and step["grad_norm"]:
            product = sum(float(row[4]) for row in stats)
            cosine = product / (self._previous_norm * step["grad_norm"])
            step["cosine"] = cosine if math.isfinite(cosine) else None
        if not math.isfinite(step["loss"] or 0.0) or not math.isfinite(step.get("grad_norm", 0.0)):
            step["non_finite"] = self._locate(step)

    def _locate(self, step):
        """First non-finite value of a step, as far as it is known."""
        for tensor, sample in zip(self._tensors, step["tensors"]):
            if not math.isfinite(sample["param_norm"]):
                return {"name": tensor["name"], "operation": "parameters"}
        for layer, sample in zip(self._layers, step["layers"]):
            if not math.isfinite(sample.get("mean", 0.0)):
                return {"name": layer["name"], "operation": "outputs"}
        if not math.isfinite(step["loss"] or 0.0):
            return {"name": self.loss, "operation": "loss"}
        for tensor, sample in zip(reversed(self._tensors), reversed(step["tensors"])):
            if sample.get("non_finite"):
                return {"name": tensor["name"], "operation": "gradient"}
        return None

    def _probe(self):
        """Samples of the layers for the inputs of the probe, in the order of the layers."""
        if self.probe is None:
            return []
        samples = {}

        def on_outputs(name, kind, inputs, outputs):
            values = numpy.zeros(()) if outputs is None else ops.convert_to_numpy(outputs)
            if values.ndim > 0 and values.dtype.kind == "f":
                values = values[:, None] if values.ndim == 1 else values
                samples[name] = _layer_sample(values[: _rows(values)], values.ndim - 1, kind)

        self._run_probe(on_outputs)
        return [samples.get(layer["name"], {}) for layer in self._layers]

    def _run_probe(self, on_outputs):
        """Calls the model on the probe, and `on_outputs` for each layer and fused activation."""
        restores = []

        def replace(owner, attribute, wrap):
            original = getattr(owner, attribute)
            restores.append((owner, attribute, original, attribute in vars(owner)))
            # A layer tracks what is assigned to it, and locks that once it is built.
            object.__setattr__(owner, attribute, wrap(original))

        def wrap_call(name, kind, fused):
            def wrap(original):
                def call(*args, **kwargs):
                    inputs = _first(args) if args else _first(kwargs)
                    outputs = original(*args, **kwargs)
                    if fused is None:
                        on_outputs(name, kind, inputs, _first(outputs))
                    else:
                        on_outputs(name, kind, inputs, self._unactivated.pop(name, None))
                        on_outputs(*fused, inputs, _first(outputs))
                    return outputs

                return call

            return wrap

        def wrap_function(name):
            def wrap(original):
                def activation(inputs):
                    self._unactivated[name] = inputs
                    return original(inputs)

                return activation

            return wrap

        try:
            for name, kind, layer, fused in self._parts:
                replace(layer, "call", wrap_call(name, kind, fused))
                if fused is not None:
                    replace(layer, "activation", wrap_function(name))
            self.model(self.probe, training=False)
        finally:
            for owner, attribute, original, is_own in reversed(restores):
                if is_own:
                    object.__setattr__(owner, attribute, original)
                else:
                    object.__delattr__(owner, attribute)

    # --- Description --------------------------------------------------------------------------

    def _describe(self):
        """Writes the model, and the data if they are known."""
        model, optimizer = self.model, self.model.optimizer
        compiled = (getattr(model, "get_compile_config", dict)() or {}).get("loss")
        self.loss, of_probabilities = _describe_loss(self.loss or compiled)
        if self.task is None:
            is_regression = self.classes == 0 and self.loss in ("mse", "mae", "huber")
            self.task = "regression" if is_regression else "classification"
        if self._data_of is not None:
            inputs, targets, validation, shuffled = self._data_of
            owned = _all_layers(model)
            are_indices = inputs.dtype.kind in "iu" and any(
                isinstance(layer, keras.layers.Embedding) for layer in owned
            )
            has_classes = self.task == "classification"
            self._data = _data(
                inputs, targets, validation, has_classes, self.classes, shuffled, are_indices
            )
            self._data_of = None
            self.examples = self.examples or self._data["train"]
            if has_classes:
                self.classes = self.classes or len(self._data["class_counts"])
        steps = self.params.get("steps") or 0
        if self.batch == 0 and steps and self.examples:
            self.batch = -(-self.examples // steps)
        self._describe_layers(of_probabilities)
        config = optimizer.get_config()
        inner = getattr(optimizer, "inner_optimizer", None)
        config = config if inner is None else inner.get_config()
        self._clip = _describe_clip(config)
        policy = getattr(model, "dtype_policy", None)
        self._file.write(
            "model",
            {
                "format": FORMAT,
                "task": self.task,
                "classes": self.classes,
                "loss": self.loss,
                "optimizer": {
                    "kind": type(optimizer if inner is None else inner).__name__.lower(),
                    "momentum": config.get("momentum"),
                    "beta1": config.get("beta_1"),
                    "beta2": config.get("beta_2"),
                    "epsilon": config.get("epsilon"),
                    "weight_decay": config.get("weight_decay"),
                },
                "learning_rate": float(ops.convert_to_numpy(optimizer.learning_rate)),
                "schedule": self.schedule,
                "clip": self._clip,
                "batch": self.batch,
                "examples": self.examples,
                "planned_steps": steps * (self.params.get("epochs") or 0),
                "dtype": _dtype(getattr(policy, "compute_dtype", "float32")),
                "parameter_dtype": _dtype(getattr(policy, "variable_dtype", "float32")),
                "layers": self._layers,
                "tensors": self._tensors,
            },
        )
        if self._data is not None:
            standardised = _is_standardised(self._layers)
            self._file.write("data", {**self._data, "standardised": standardised})

    def _describe_layers(self, of_probabilities):
        """Layers in order, each with the activation that is fused with it, and their tensors."""
        listed = _listed_layers(self.model)
        parts = []
        for layer in listed:
            kind, function, fused = _kind(layer), getattr(layer, "activation", None), None
            is_function = callable(function) and not isinstance(function, keras.layers.Layer)
            if kind in ("dense", "convolution") and is_function:
                if _function_kind(function) != "linear":
                    fused = (layer.name + ".activation", _function_kind(function))
            parts.append((layer.name, kind, layer, fused))
        self._parts = parts
        # Order of execution and shapes, by a call on the probe.
        shapes = {}
        if self.probe is not None:

            def on_outputs(name, kind, inputs, outputs):
                count = lambda values: math.prod(tuple(values.shape)[1:])
                elements = [0 if part is None else count(part) for part in (inputs, outputs)]
                shapes.setdefault(name, elements)

            self._run_probe(on_outputs)
            rank = {name: index for index, name in enumerate(shapes)}
            self._parts = sorted(parts, key=lambda part: rank.get(part[0], len(rank)))
        self._layers, self._tensors, self._variables = [], [], []
        trained = {id(variable) for variable in self.model.trainable_variables}
        self._slots = {
            id(variable): slot for slot, variable in enumerate(self.model.trainable_variables)
        }
        seen, self._equal = set(), set()
        last = self._parts[-1][0] if self._parts else None
        for name, kind, layer, fused in self._parts:
            is_last = of_probabilities and name == last
            if is_last and kind in ("softmax", "sigmoid"):
                # It belongs to the loss.
                continue
            index = len(self._layers)
            inputs, outputs = shapes.get(name, _static_shapes(layer))
            self._layers.append(
                {
                    "name": name,
                    "kind": kind,
                    "inputs": inputs,
                    "outputs": outputs,
                    "residual": name in self.residual,
                    "dropout": getattr(layer, "rate", None) if kind == "dropout" else None,
                }
            )
            if fused is not None and not (is_last and fused[1] in ("softmax", "sigmoid")):
                self._layers.append(
                    {
                        "name": fused[0],
                        "kind": fused[1],
                        "inputs": outputs,
                        "outputs": outputs,
                        "residual": name in self.residual,
                    }
                )
            for variable in _own_variables(layer, listed):
                is_known = id(variable) in trained or variable.name in PARAMETERS
                if id(variable) not in seen and is_known:
                    seen.add(id(variable))
                    self._variables.append(variable)
                    self._tensors.append(_describe_tensor(variable, index, kind, trained))


class _Gradients:
    """Gradients that the optimizer gets: a wrapper of its method `apply`, which writes statistics
    to variables, since it may be part of a compiled function."""

    def __init__(self, model):
        self._model, self._variables = model, model.trainable_variables
        optimizer = model.optimizer
        # An optimizer that scales the loss passes true gradients to the one within it.
        self._optimizer = getattr(optimizer, "inner_optimizer", None) or optimizer
        zeros = lambda shape: keras.Variable(ops.zeros(shape), trainable=False, dtype="float32")
        self._stats = zeros((len(self._variables), 5))
        self._previous = [zeros(variable.shape) for variable in self._variables]
        self._is_sampled, self._is_next_sampled = zeros(()), zeros(())
        self._slots = {id(variable): slot for slot, variable in enumerate(self._variables)}
        self._apply = self._optimizer.apply

        def apply(grads, trainable_variables=None):
            grads = list(grads)
            of = self._variables if trainable_variables is None else list(trainable_variables)
            self._observe(dict(zip((id(variable) for variable in of), grads)))
            return self._apply(grads, of if trainable_variables is not None else None)

        object.__setattr__(self._optimizer, "apply", apply)
        model.make_train_function(force=True)

    def end(self):
        object.__delattr__(self._optimizer, "apply")
        self._model.train_function = None

    def begin(self, is_sampled, is_next_sampled):
        self._is_sampled.assign(float(is_sampled))
        self._is_next_sampled.assign(float(is_next_sampled))

    def stats(self):
        """Norm, counts of non-finite, zero and subnormal elements, and product with the gradient
        before, of each variable's gradient."""
        return ops.convert_to_numpy(self._stats).astype(numpy.float64).tolist()

    def _observe(self, of_variable):
        gradients = []
        scale = getattr(self._optimizer, "loss_scale_factor", None)
        for variable in self._variables:
            gradient = of_variable.get(id(variable))
            if gradient is None:
                gradient = ops.zeros(variable.shape)
            if type(gradient).__name__ == "IndexedSlices":
                # TensorFlow's sparse gradient of an embedding.
                import tensorflow

                gradient = tensorflow.convert_to_tensor(gradient)
            gradient = ops.cast(ops.convert_to_tensor(gradient), "float32")
            gradients.append(gradient if scale is None else gradient / scale)

        def norm(gradient):
            # Without overflow or underflow of the squares.
            largest = ops.max(ops.abs(gradient))
            is_usable = ops.logical_and(largest > 0.0, ops.isfinite(largest))
            unit = ops.where(is_usable, largest, ops.ones_like(largest))
            return unit * ops.sqrt(ops.sum(ops.square(gradient / unit)))

        count = lambda condition: ops.sum(ops.cast(condition, "float32"))

        def everything():
            rows = []
            for gradient, previous in zip(gradients, self._previous):
                magnitude = ops.abs(gradient)
                is_subnormal = ops.logical_and(magnitude > 0.0, magnitude < SMALLEST_NORMAL)
                row = [
                    norm(gradient),
                    count(ops.logical_not(ops.isfinite(gradient))),
                    count(ops.equal(gradient, 0.0)),
                    count(is_subnormal),
                    ops.sum(gradient * ops.convert_to_tensor(previous)),
                ]
                rows.append(ops.stack(row))
            self._stats.assign(ops.stack(rows))
            return ops.zeros(())

        def norms():
            zero = ops.zeros(())
            rows = [ops.stack([norm(gradient)] + [zero] * 4) for gradient in gradients]
            self._stats.assign(ops.stack(rows))
            return ops.zeros(())

        def save():
            for previous, gradient in zip(self._previous, gradients):
                previous.assign(gradient)
            return ops.zeros(())

        ops.cond(ops.convert_to_tensor(self._is_sampled) > 0.0, everything, norms)
        is_next_sampled = ops.convert_to_tensor(self._is_next_sampled) > 0.0
        ops.cond(is_next_sampled, save, lambda: ops.zeros(()))


def _all_layers(model):
    """Layers of `model` and within them, in the order of their creation."""
    return list(model._flatten_layers(include_self=False, recursive=True))


def _sublayers(layer):
    return list(layer._flatten_layers(include_self=False, recursive=True))


def _listed_layers(model):
    """Layers of known kinds, those without parts, and those with parameters of their own."""
    listed, hidden = [], set()
    for layer in _all_layers(model):
        if id(layer) in hidden or isinstance(layer, keras.layers.InputLayer):
            continue
        parts = _sublayers(layer)
        if type(layer).__name__ in KINDS or not parts:
            listed.append(layer)
            hidden.update(id(part) for part in parts)
        else:
            within = {id(variable) for part in parts for variable in part.weights}
            if any(id(variable) not in within for variable in layer.weights):
                listed.append(layer)
    return listed


def _own_variables(layer, listed):
    """Variables of `layer` that are not those of another listed layer."""
    others = {id(part) for part in _sublayers(layer)} & {id(other) for other in listed}
    within = {
        id(variable) for other in listed if id(other) in others for variable in other.weights
    }
    return [variable for variable in layer.weights if id(variable) not in within]


def _kind(layer):
    name = type(layer).__name__
    if name == "Activation":
        return _function_kind(layer.activation)
    if name == "ReLU":
        if getattr(layer, "negative_slope", 0.0):
            return "leaky_relu"
        return "relu" if layer.max_value is None else "capped_relu"
    for parent in type(layer).__mro__:
        if parent.__name__ in KINDS and parent.__module__.startswith("keras."):
            return KINDS[parent.__name__]
    return name.lower()


def _function_kind(function):
    name = getattr(function, "__name__", type(function).__name__).lower()
    return FUNCTIONS.get(name, name)


def _first(values):
    """First tensor of a layer's inputs or outputs."""
    if hasattr(values, "shape") and hasattr(values, "dtype"):
        return values
    if isinstance(values, dict):
        values = list(values.values())
    if isinstance(values, (tuple, list)):
        for value in values:
            tensor = _first(value)
            if tensor is not None:
                return tensor
    return None


def _static_shapes(layer):
    """Elements of input and output per example, as far as they are known without a call."""
    elements = []
    for attribute in ("input", "output"):
        try:
            shape = tuple(getattr(layer, attribute).shape)[1:]
            elements.append(0 if None in shape else math.prod(shape))
        except (AttributeError, ValueError, TypeError):
            elements.append(0)
    return elements


def _describe_tensor(variable, layer, kind, trained):
    shape = tuple(variable.shape)
    elements = math.prod(shape)
    is_weight = len(shape) > 1 and kind not in NORMALISATIONS and variable.name != "bias"
    # Kernels of attention have axes for heads: [inputs, heads, units], and [heads, units, outputs].
    is_of_heads = kind == "attention" and "attention_output" not in variable.path
    units = (math.prod(shape[1:]) if is_of_heads else shape[-1]) if is_weight else 0
    return {
        "name": variable.path,
        "layer": layer,
        "elements": elements,
        "fan_in": elements // max(1, units) if is_weight else 0,
        "fan_out": units,
        "weight": is_weight,
        "frozen": id(variable) not in trained,
    }


def _describe_loss(loss):
    """Name of a compiled loss, and `True` if it takes probabilities."""
    config = {}
    if isinstance(loss, dict):
        loss, config = loss.get("class_name", ""), loss.get("config") or {}
        # A function is serialised by its name.
        loss, config = (config, {}) if isinstance(config, str) else (loss, config)
    name = str(loss or "")
    key = name.lower()
    of_probabilities = "crossentropy" in key and not config.get("from_logits", False)
    return LOSSES.get(key, key), of_probabilities


def _describe_clip(config):
    kinds = {"global_clipnorm": "global_norm", "clipnorm": "norm", "clipvalue": "value"}
    for key, kind in kinds.items():
        if config.get(key) is not None:
            return {"kind": kind, "limit": float(config[key])}
    return None


def _dtype(name):
    names = {"float32": "f32", "float64": "f64", "bfloat16": "bf16", "float16": "f16"}
    return names.get(str(name), str(name))
