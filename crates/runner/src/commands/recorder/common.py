# --- The record file, and measurements by NumPy: the same for every framework ---------------------

# Version of the entries' form.
FORMAT = 1

# Examples of a layer's outputs that are measured, and elements, if they are more than those of the
# fewest examples.
ROWS, ELEMENTS, FEWEST_ROWS = 128, 1 << 17, 16

# Examples for the moments of the inputs; whose nearest neighbours are searched; among which they
# are searched; neighbours that vote on a label.
MOMENT_EXAMPLES, QUERIES, CANDIDATES, VOTERS = 4096, 512, 2048, 15

ACTIVATIONS = {
    "relu", "capped_relu", "leaky_relu", "elu", "selu", "gelu", "gelu_tanh", "silu", "mish",
    "sigmoid", "hard_sigmoid", "tanh", "hard_tanh", "softplus", "softsign",
}

# Bounds of activations at which their slope is nearly 0. Units of a capped ReLU that are 0 are dead
# rather than saturated.
BOUNDS = {
    "capped_relu": (-math.inf, 6.0),
    "sigmoid": (0.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "hard_tanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
}

NORMALISATIONS = {"batch_norm", "layer_norm", "rms_norm", "group_norm"}


class _File:
    """Record file: a JSON object per line."""

    def __init__(self, path):
        self._file = open(path, "w", encoding="utf-8", buffering=1)

    def write(self, kind, entry):
        """Writes `entry`. Fields that are `None` were not measured, and are left out."""
        if not self._file.closed:
            line = json.dumps(_plain({"kind": kind, **entry}), allow_nan=False)
            self._file.write(line + "\n")

    def close(self):
        self._file.close()


def _plain(value):
    """`value` with the types of JSON: numbers that are not finite become strings."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (bool, int, str)) or value is None:
        return value
    if isinstance(value, numpy.bool_):
        return bool(value)
    if isinstance(value, numpy.integer):
        return int(value)
    value = float(value)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def _array(values):
    """`values`, a list or an array or tensor of any framework, as a NumPy array."""
    if values is None:
        return None
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        try:
            return values.numpy()
        except TypeError:  # bfloat16
            return values.float().numpy()
    if hasattr(values, "numpy"):
        values = values.numpy()
    return numpy.asarray(values)


def _norm(values):
    """L2 norm, without overflow or underflow of the squares."""
    values = numpy.asarray(values, dtype=numpy.float64).reshape(-1)
    largest = float(numpy.abs(values).max()) if values.size else 0.0
    if not 0.0 < largest < math.inf:
        return largest
    return largest * float(numpy.linalg.norm(values / largest))


def _equal_units(units):
    """Number of rows of `units` that equal an earlier one, bit for bit."""
    rows = numpy.ascontiguousarray(units)
    return len(rows) - len({row.tobytes() for row in rows})


def _rows(outputs):
    """Number of examples of `outputs` that are measured."""
    width = max(1, math.prod(outputs.shape[1:]))
    return min(ROWS, max(FEWEST_ROWS, ELEMENTS // width))


def _layer_sample(outputs, unit_axis, kind):
    """Sample of a layer's outputs, a NumPy array: `[examples, ...]`."""
    outputs = numpy.asarray(outputs, dtype=numpy.float64)
    if outputs.size == 0:
        return {}
    flat = outputs.reshape(len(outputs), -1)
    with numpy.errstate(all="ignore"):
        mean = flat.mean()
        std = numpy.sqrt(((flat - mean) ** 2).mean())
        # Differences from the first example: outputs that do not vary have exactly none.
        difference = flat - flat[0]
        difference -= difference.mean(axis=0)
        between = numpy.sqrt((difference ** 2).mean())
    units = outputs.shape[unit_axis]
    sample = {
        "units": units,
        "mean": mean,
        "std": std,
        "std_over_batch": between,
        "zero_fraction": (flat == 0.0).mean(),
    }
    if kind in ACTIVATIONS:
        columns = numpy.moveaxis(outputs, unit_axis, -1).reshape(-1, units)
        is_zero, is_saturated = columns == 0.0, numpy.zeros(columns.shape, dtype=bool)
        if kind in BOUNDS:
            low, high = BOUNDS[kind]
            # Within a hundredth of the range.
            margin = 0.01 * (high - low) if math.isfinite(low) else 0.0
            is_saturated = (columns >= high - margin) | (columns <= low + margin)
        saturated = is_saturated.all(axis=0)
        sample["dead"] = (is_zero.all(axis=0) & ~saturated).sum()
        sample["saturated"] = saturated.sum()
        sample["saturated_fraction"] = is_saturated.mean()
    return sample


def _is_standardised(layers):
    """`True` if the first layer that is no reshaping or dropout sets the scale of the inputs."""
    passes = {"flatten", "dropout", "rows", "identity", "rescaling"}
    kinds = [layer["kind"] for layer in layers if layer["kind"] not in passes]
    return bool(kinds) and kinds[0] in NORMALISATIONS | {"standardise", "normalization"}


def _class_counts(labels, classes):
    counts = numpy.bincount(labels[labels >= 0], minlength=classes)
    return [int(count) for count in counts]


def _labels(targets, classes):
    """Class of each example: of class indices, or of a row per example with a value per class."""
    if targets.ndim > 1 and targets.shape[-1] > 1:
        return targets.reshape(-1, targets.shape[-1]).argmax(axis=1).astype(numpy.int64)
    labels = targets.reshape(-1)
    is_valid = (labels >= 0) & (labels < (classes or 2 ** 31))
    return numpy.where(is_valid, labels, -1).astype(numpy.int64)


def _spaced(count, most):
    """Indices of at most `most` of `count` examples, evenly spaced."""
    most = min(most, count)
    return numpy.arange(most) * count // max(1, most)


class _Moments:
    """Moments of each input over some examples: arrays `[inputs]`."""

    def __init__(self, inputs):
        rows = _spaced(len(inputs), MOMENT_EXAMPLES)
        width = math.prod(inputs.shape[1:])
        total, squares = numpy.zeros(width), numpy.zeros(width)
        self.min, self.max = numpy.full(width, math.inf), numpy.full(width, -math.inf)
        self.non_finite = 0
        first = None
        for start in range(0, len(rows), 256):
            batch = inputs[rows[start : start + 256]].reshape(-1, width).astype(numpy.float64)
            finite = numpy.isfinite(batch)
            self.non_finite += int((~finite).sum())
            if first is None:
                # Sums of differences from it: constant inputs have exactly none.
                first = numpy.where(finite[0], batch[0], 0.0)
            difference = numpy.where(finite, batch - first, 0.0)
            total += difference.sum(axis=0)
            squares += (difference ** 2).sum(axis=0)
            self.min = numpy.minimum(self.min, numpy.where(finite, batch, math.inf).min(axis=0))
            self.max = numpy.maximum(self.max, numpy.where(finite, batch, -math.inf).max(axis=0))
        count = max(1, len(rows))
        self.mean = (first if first is not None else 0.0) + total / count
        self.std = numpy.sqrt(numpy.maximum(squares / count - (total / count) ** 2, 0.0))

    def distance(self, other):
        """Root mean square over inputs of the difference of means, in standard deviations."""
        varies = self.std > 0.0
        if not varies.any():
            return 0.0
        shift = (other.mean[varies] - self.mean[varies]) / self.std[varies]
        return float(numpy.sqrt((shift ** 2).mean()))


def _ratio(values):
    """Largest over the smallest of the positive `values`; `None` if there are none."""
    values = values[values > 0.0]
    return values.max() / values.min() if values.size else None


def _standardised(inputs, rows, moments):
    """Inputs of the examples `rows`; without the division by their scale for images."""
    batch = inputs[rows].reshape(len(rows), -1).astype(numpy.float32)
    scale = moments.std if inputs.ndim <= 2 else 1.0
    with numpy.errstate(all="ignore"):
        batch = (batch - moments.mean.astype(numpy.float32)) / scale
    batch = numpy.where((moments.std > 0.0) & numpy.isfinite(batch), batch, 0.0)
    return batch.astype(numpy.float32)


def _agreement(queries, names, labels, others, other_names, other_labels):
    """Fractions of queries with the label of their nearest neighbour, and with that of most."""
    distances = (others ** 2).sum(axis=1) - 2.0 * (queries @ others.T)
    if names is not None:
        distances[names[:, None] == other_names[None, :]] = math.inf
    count = min(VOTERS, distances.shape[1] - (names is not None))
    nearest = numpy.argsort(distances, axis=1, kind="stable")[:, :count]
    agree = other_labels[nearest[:, 0]] == labels
    votes = [numpy.bincount(row[row >= 0], minlength=1).argmax() for row in other_labels[nearest]]
    return float(agree.mean()), float((numpy.asarray(votes) == labels).mean())


def _first_of_each(inputs, targets):
    """Target of the first of each distinct example, by its bytes; duplicates, and those among
    them whose targets differ."""
    seen, duplicates, conflicting = {}, 0, 0
    for row, target in zip(inputs, targets):
        key = hash(numpy.ascontiguousarray(row).tobytes())
        if key not in seen:
            seen[key] = target
        else:
            duplicates += 1
            conflicting += seen[key] != target
    return seen, duplicates, int(conflicting)


def _data(inputs, targets, validation, has_classes, classes, shuffled, are_indices):
    """Summary of the data: the fields of the entry `data`.

    `validation` is a pair of inputs and targets, `None` without. Moments and neighbours are left
    out for inputs that are indices of an embedding.
    """
    inputs, targets = _array(inputs), _array(targets)
    validation_inputs, validation_targets = (_array(part) for part in validation)
    data = {"train": len(inputs), "inputs": math.prod(inputs.shape[1:])}
    if validation_inputs is not None:
        data["validation"] = len(validation_inputs)
    labels = validation_labels = None
    if has_classes:
        labels = _labels(targets, classes)
        data["class_counts"] = _class_counts(labels, classes)
        if validation_targets is not None:
            validation_labels = _labels(validation_targets, classes)
            data["validation_class_counts"] = _class_counts(validation_labels, classes)
        frequencies = numpy.asarray(data["class_counts"]) / max(1, sum(data["class_counts"]))
        data["same_label_by_chance"] = (frequencies ** 2).sum()
        if not shuffled and len(labels) > 1:
            data["same_label_successors"] = (labels[1:] == labels[:-1]).mean()
    else:
        values = targets.astype(numpy.float64)
        data["target_mean"], data["target_std"] = values.mean(), values.std()
        data["target_min"], data["target_max"] = values.min(), values.max()
    has_label_each = labels is not None and len(labels) == len(inputs)
    keys = labels.tolist() if has_label_each else [target.tobytes() for target in targets]
    seen, data["duplicates"], data["conflicting_duplicates"] = _first_of_each(inputs, keys)
    if validation_inputs is not None:
        same_type = validation_inputs.astype(inputs.dtype, copy=False)
        leaked = (hash(numpy.ascontiguousarray(row).tobytes()) in seen for row in same_type)
        data["leaked_validation"] = sum(leaked)
    if are_indices:
        return data
    moments = _Moments(inputs)
    varies = moments.std > 0.0
    data["min"], data["max"] = moments.min.min(), moments.max.max()
    data["mean"] = moments.mean.mean()
    data["rms"] = numpy.sqrt((moments.mean ** 2 + moments.std ** 2).mean())
    data["scale_ratio"] = _ratio(moments.std)
    data["range_ratio"] = _ratio(moments.max - moments.min)
    if varies.any():
        data["offset_ratio"] = (numpy.abs(moments.mean[varies]) / moments.std[varies]).max()
    data["constant_inputs"] = (~varies).sum()
    data["non_finite"] = moments.non_finite
    if validation_inputs is not None and len(validation_inputs):
        data["validation_shift"] = moments.distance(_Moments(validation_inputs))
    # Half a GiB for the neighbours' inputs.
    most = min(CANDIDATES, (1 << 27) // max(1, data["inputs"]))
    if has_label_each and most > VOTERS and len(inputs) > 1:
        candidates = _spaced(len(inputs), most)
        others = _standardised(inputs, candidates, moments)
        chosen = _spaced(len(candidates), QUERIES)
        queries = candidates[chosen]
        data["neighbour_agreement"], data["neighbour_vote"] = _agreement(
            others[chosen], queries, labels[queries], others, candidates, labels[candidates]
        )
        data["neighbours_sampled"] = len(queries)
        is_scored = validation_labels is not None and len(validation_labels) > 0
        if is_scored and len(validation_labels) == len(validation_inputs):
            queries = _spaced(len(validation_inputs), QUERIES)
            rows = _standardised(validation_inputs, queries, moments)
            data["validation_agreement"], _ = _agreement(
                rows, None, validation_labels[queries], others, candidates, labels[candidates]
            )
    return data


def _scores(predictions, labels, classes, threshold):
    """Counts of predicted classes and of correct predictions, per class. One output per example is
    that of the second of two classes, which is predicted above `threshold`."""
    predictions, labels = _array(predictions), _labels(_array(labels), classes)
    has_one = predictions.ndim < 2 or predictions.shape[-1] == 1
    if has_one and predictions.dtype.kind == "f":
        predictions = (predictions > threshold).astype(numpy.int64)
    predictions = _labels(predictions, classes)
    return {
        "predicted_counts": _class_counts(predictions, classes),
        "correct_counts": _class_counts(labels[predictions == labels], classes),
    }
