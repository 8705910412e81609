//! `dump`: logits, loss and gradients agree with a reference computation from the dumped
//! parameters.
#![expect(clippy::disallowed_methods, reason = "the program is compared with std's functions")]

use std::fs;

use safetensors::{Dtype, SafeTensors};

use crate::world::{CLASSES, SIDE, World, images};

const INPUTS: usize = SIDE * SIDE;
const HIDDEN: usize = 5;
const SAMPLES: usize = 7;

const CONFIG: &str = "epochs = 2\nbatch = 30\nlayers = [{ kind = \"dense\", units = 5 }, \
                      { kind = \"relu\" }, { kind = \"dense\", units = 3 }]\n";

/// Values of an f64 tensor, whose shape is asserted.
fn doubles(file: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Vec<f64> {
    let view = file.tensor(name).unwrap();
    assert_eq!((view.dtype(), view.shape()), (Dtype::F64, shape), "{name}");
    view.data().as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect()
}

/// Parameters in PyTorch's layouts: w0 `[5, 36]`, b0, w2 `[3, 5]`, b2.
type Params = [Vec<f64>; 4];

const NAMES: [&str; 4] = ["layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.2.bias"];
const SHAPES: [&[usize]; 4] = [&[HIDDEN, INPUTS], &[HIDDEN], &[CLASSES, HIDDEN], &[CLASSES]];

fn dense(weight: &[f64], bias: &[f64], x: &[f64]) -> Vec<f64> {
    weight
        .chunks(x.len())
        .zip(bias)
        .map(|(row, bias)| row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + bias)
        .collect()
}

/// Logits of each row, and the mean loss. A hidden unit is active if it is with the parameters
/// `pattern`: a finite difference must not cross a ReLU's kink, where no derivative exists.
fn forward(params: &Params, pattern: &Params, inputs: &[f64], labels: &[i64]) -> (Vec<f64>, f64) {
    let mut all = Vec::new();
    let mut loss = 0.0;
    for (x, &label) in inputs.chunks(INPUTS).zip(labels) {
        let hidden = dense(&params[0], &params[1], x).into_iter();
        let gates = dense(&pattern[0], &pattern[1], x);
        let hidden: Vec<f64> =
            hidden.zip(gates).map(|(h, gate)| if gate > 0.0 { h } else { 0.0 }).collect();
        let logits = dense(&params[2], &params[3], &hidden);
        loss += logits.iter().map(|z| z.exp()).sum::<f64>().ln() - logits[label as usize];
        all.extend(logits);
    }
    (all, loss / labels.len() as f64)
}

fn check(bytes: &[u8]) {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let params: Params =
        std::array::from_fn(|i| doubles(&file, &format!("param.{}", NAMES[i]), SHAPES[i]));
    let inputs = doubles(&file, "inputs", &[SAMPLES, INPUTS]);
    let labels = file.tensor("labels").unwrap();
    assert_eq!((labels.dtype(), labels.shape()), (Dtype::I64, &[SAMPLES][..]));
    let labels: Vec<_> =
        labels.data().as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect();

    // Images of the training set, scaled to [0, 1].
    let set = images(300, 1);
    for (row, &label) in inputs.chunks(INPUTS).zip(&labels) {
        let bytes: Vec<u8> = row.iter().map(|x| (x * 255.0).round() as u8).collect();
        let found = (0..set.len()).find(|&i| set.image(i) == Some(&bytes));
        assert_eq!(i64::from(set.labels()[found.expect("an image of the set")]), label);
    }

    let (logits, loss) = forward(&params, &params, &inputs, &labels);
    let close =
        |a: f64, b: f64, bound: f64| (a - b).abs() <= bound * a.abs().max(b.abs()).max(1e-3);
    let dumped = doubles(&file, "logits", &[SAMPLES, CLASSES]);
    assert!(dumped.iter().zip(&logits).all(|(&a, &b)| close(a, b, 1e-12)));
    assert!(close(doubles(&file, "loss", &[])[0], loss, 1e-12));
    for (i, name) in NAMES.iter().enumerate() {
        let grads = doubles(&file, &format!("grad.{name}"), SHAPES[i]);
        assert!(grads.iter().any(|&g| g != 0.0), "{name}");
        for (j, &grad) in grads.iter().enumerate() {
            // Fourth-order central difference.
            let loss = |offset: f64| {
                let mut moved = params.clone();
                moved[i][j] += offset;
                forward(&moved, &params, &inputs, &labels).1
            };
            let h = 1e-4;
            let difference =
                (8.0 * (loss(h) - loss(-h)) - (loss(2.0 * h) - loss(-2.0 * h))) / (12.0 * h);
            assert!(close(grad, difference, 1e-7), "{name}[{j}]: {grad}, difference {difference}");
        }
    }
}

#[test]
fn a_dump_agrees_with_a_reference_computation() {
    let world = World::new();
    world.write("small.toml", CONFIG);
    world.expect(0, "train --data tiny --config small.toml --out run --quiet", &[]);
    world.expect(0, "dump run --samples 7 --dtype f64 --mode train --out run.safetensors", &[]);
    let bytes = fs::read(world.path("run.safetensors")).unwrap();
    check(&bytes);

    // f32 weights are widened exactly.
    let model = fs::read(world.path("run/model.safetensors")).unwrap();
    let (model, dump) =
        (SafeTensors::deserialize(&model).unwrap(), SafeTensors::deserialize(&bytes).unwrap());
    for (name, shape) in NAMES.into_iter().zip(SHAPES) {
        let single = model.tensor(name).unwrap();
        let single =
            single.data().as_chunks().0.iter().map(|&bytes| f64::from(f32::from_le_bytes(bytes)));
        assert!(single.eq(doubles(&dump, &format!("param.{name}"), shape)), "{name}");
    }

    world.expect(
        0,
        "dump --data tiny --config small.toml --samples 7 --dtype f64 --out initial.safetensors",
        &[],
    );
    let initial = fs::read(world.path("initial.safetensors")).unwrap();
    check(&initial);
    assert_ne!(bytes, initial);
}

#[test]
fn a_dump_has_the_type_of_the_run_by_default() {
    let world = World::new();
    world.write("small.toml", CONFIG);
    world.expect(0, "dump --data tiny --config small.toml --out x.safetensors", &[]);
    let bytes = fs::read(world.path("x.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.len(), 4 + 2 * 4);
    for (name, view) in file.iter() {
        assert_eq!(view.dtype(), if name == "labels" { Dtype::I64 } else { Dtype::F32 }, "{name}");
    }
}

/// Checks the buffers of `standardise`: mean and standard deviation of the training images, which
/// `dump` writes as inputs.
#[test]
fn a_first_layer_that_standardises_is_fitted_to_the_training_images() {
    let world = World::new();
    world.write(
        "standard.toml",
        "epochs = 1\nbatch = 30\nvalidation = 30\nlsuv = {}\n\
         layers = [{ kind = \"standardise\" }, { kind = \"dense\", units = 3 }]\n",
    );
    world.expect(0, "train --data tiny --config standard.toml --out run --quiet", &[]);
    let count = 300 - 30;
    world.expect(
        0,
        &format!("dump run --samples {count} --dtype f64 --out batch.safetensors"),
        &[],
    );
    let (batch, model) = (
        fs::read(world.path("batch.safetensors")).unwrap(),
        fs::read(world.path("run/model.safetensors")).unwrap(),
    );
    let inputs = doubles(&SafeTensors::deserialize(&batch).unwrap(), "inputs", &[count, INPUTS]);
    let model = SafeTensors::deserialize(&model).unwrap();
    let singles = |name: &str| -> Vec<f64> {
        let bytes = model.tensor(name).unwrap().data();
        bytes.as_chunks().0.iter().map(|&bytes| f64::from(f32::from_le_bytes(bytes))).collect()
    };
    let (means, deviations) = (singles("layers.0.mean"), singles("layers.0.std"));
    for pixel in 0..INPUTS {
        let column = || inputs.iter().skip(pixel).step_by(INPUTS);
        let mean = column().sum::<f64>() / count as f64;
        let variance = column().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count as f64;
        assert!((means[pixel] - mean).abs() < 1e-6, "{pixel}: {} is not {mean}", means[pixel]);
        let expected = if variance.sqrt() < 1e-8 { 1.0 } else { variance.sqrt() };
        assert!(
            (deviations[pixel] - expected).abs() < 1e-6,
            "{pixel}: {} is not {expected}",
            deviations[pixel]
        );
    }
}
