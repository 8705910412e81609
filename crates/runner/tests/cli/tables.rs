//! Tables and arrays: training, evaluation, prediction, generation, and invalid ones.

use std::fs;
use std::io::Write;

use serde_json::Value;
use zip::write::SimpleFileOptions;

use crate::world::{World, stderr, stdout};

/// Writes 200 rows of three kinds of flowers, whose columns have scales that differ a thousandfold.
pub(crate) fn flowers(world: &World) {
    let mut text = String::from("length,kind,weight\n");
    for i in 0..200 {
        let kind = i % 3;
        let (length, weight) =
            (f64::from(kind) + 0.01 * f64::from(i % 7), 1000.0 * f64::from(kind * kind));
        text.push_str(&format!(
            "{length},{},{}\n",
            ["aster", "bellis", "crocus"][kind as usize],
            weight + f64::from(i % 5)
        ));
    }
    world.write("flowers.csv", &text);
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Checks divergence on a table: the first layer standardises and has no parameters, so the search
/// for the origin has to skip it.
#[test]
fn a_run_on_a_table_diverges_with_its_message() {
    let world = World::new();
    flowers(&world);
    let diverge = "train --data flowers.csv --label kind --batch 16 --epochs 2 --optimizer sgd \
                   --lr 1e30 --quiet";
    let output = world.expect(5, &format!("{diverge} --out run"), &["diverged", "lr"]);
    assert!(!stderr(&output).contains("no layer with parameters"));
    assert_eq!(world.summary("run")["status"], "diverged");
    let sweep = "sweep --data flowers.csv --label kind lr=1e30,0.01 optimizer=sgd epochs=2 \
                 batch=16 --out grid";
    let table = stdout(&world.expect(0, sweep, &[]));
    assert!(table.contains("diverged") && table.contains("best: grid/002"), "{table}");
}

const TRAIN: &str =
    "train --data flowers.csv --label kind --epochs 20 --batch 16 --lr 0.02 --quiet";

#[test]
fn a_table_is_trained_on_scored_and_predicted() {
    let world = World::new();
    flowers(&world);
    let output = world.expect(0, &format!("{} --out run", TRAIN.replace(" --quiet", "")), &[]);
    // 40 of 200 rows are the test set, one in twelve of the rest the validation set.
    assert!(
        stderr(&output)
            .contains("147 rows to train on, 13 to validate, 40 to test (held out by the seed)")
    );
    let summary = world.summary("run");
    assert_eq!(summary["test_accuracy"], 1.0);
    assert_eq!(
        (&summary["input_shape"], &summary["test_examples"]),
        (&serde_json::json!([2]), &40.into())
    );
    assert_eq!(summary["classes"], serde_json::json!(["aster", "bellis", "crocus"]));
    let config = world.read("run/config.toml");
    assert!(config.contains("standardise") && config.contains("label = \"kind\""), "{config}");
    assert!(world.read("run/report.html").contains("Test accuracy"));

    // The configuration repeats the run; a resumed run has the same bits.
    world.expect(0, "train --config run/config.toml --out again --quiet", &[]);
    assert_eq!(world.sha("again"), world.sha("run"));
    world.expect(0, &format!("{TRAIN} --out stopped --max-steps 13"), &["--resume"]);
    world.expect(0, "train --resume stopped --quiet", &[]);
    assert_eq!(world.sha("stopped"), world.sha("run"));

    let evaluation = json(&stdout(&world.expect(0, "eval run --split val --json", &[])));
    assert_eq!((&evaluation["images"], &evaluation["accuracy"]), (&13.into(), &1.0.into()));
    // New rows: columns in another order, an additional one, and no class.
    world.write("new.csv", "note,weight,length\nx,4001,2\ny,1,0.02\n");
    let predicted = json(&stdout(&world.expect(0, "predict run new.csv --json", &[])));
    assert_eq!(
        (&predicted[0]["class"], &predicted[1]["class"]),
        (&"crocus".into(), &"aster".into())
    );
    assert_eq!((&predicted[0]["label"], &predicted[0]["index"]), (&2.into(), &0.into()));
    let text = stdout(&world.expect(0, "predict run new.csv", &[]));
    assert!(text.contains("new.csv[1]") && text.contains("aster"), "{text}");
    world.write("other.csv", "length\n1\n");
    world.expect(3, "predict run other.csv", &["other.csv", "a column `weight`", "length"]);
    world.write("empty.csv", "length,weight\n");
    world.expect(3, "predict run empty.csv", &["empty.csv", "at least one row"]);
    world.expect(3, "predict run tiny/t10k-images-idx3-ubyte", &["table (.csv)"]);

    // Moved data, in all commands that read them.
    fs::rename(world.path("flowers.csv"), world.path("moved.csv")).unwrap();
    world.expect(3, "eval run", &["flowers.csv", "no such file"]);
    world.expect(0, "eval run --data moved.csv", &[]);
    world.expect(0, "report run --data moved.csv", &[]);
    world.expect(0, "dump --data moved.csv --label kind --samples 4 --out batch.safetensors", &[]);
    let info = stdout(&world.expect(0, "data info --data moved.csv --label kind", &[]));
    assert!(
        info.contains("3 classes of rows of 2 columns") && info.contains("aster, bellis, crocus"),
        "{info}"
    );
    world.expect(2, "data show --data moved.csv --label kind", &["images to draw", "a table"]);
    world.expect(0, "export run --format npz", &[]);
}

#[test]
fn standardisation_uses_the_training_set_and_can_be_disabled() {
    let world = World::new();
    flowers(&world);
    world.write("plain.toml", "standardise = false\nepochs = 1\n");
    let plain = "train --config plain.toml --data flowers.csv --label kind --out plain --quiet";
    world.expect(0, plain, &[]);
    assert!(!world.read("plain/config.toml").contains("standardise"));
    world.expect(0, &TRAIN.replace("--epochs 20", "--epochs 1 --out run"), &[]);
    // The buffers hold the statistics of the training set, not 0 and 1.
    let model = fs::read(world.path("run/model.safetensors")).unwrap();
    let model = safetensors::SafeTensors::deserialize(&model).unwrap();
    let mean = model.tensor("layers.0.mean").unwrap();
    let mean = f32::from_le_bytes(mean.data()[..4].try_into().unwrap());
    assert!((0.9..1.2).contains(&mean), "{mean}");
    world.write("both.toml", "standardise = true\nlayers = [{ kind = \"dense\", units = 3 }]\n");
    world.expect(
        2,
        "train --config both.toml --data flowers.csv --label kind",
        &["standardise", "`layers`"],
    );
}

#[test]
fn regressions_are_trained_scored_and_predicted() {
    let world = World::new();
    world.write(
        "run.toml",
        "dataset = \"linear\"\npreset = \"linear\"\n\
         linear = { samples = 600, features = 4, noise = 0.1 }\n\
         epochs = 30\nbatch = 16\nlr = 0.02\noptimizer = { kind = \"adam\" }\n",
    );
    let line = stdout(&world.expect(0, "train --config run.toml --out run --quiet", &[]));
    assert!(line.starts_with("test loss 0.0") && line.contains("weights sha256"), "{line}");
    let summary = world.summary("run");
    assert_eq!(summary["task"], "regression");
    for file in [
        "summary.json",
        "metrics.jsonl",
        "metrics.csv",
        "events.out.tfevents.evenkeel",
        "report.html",
    ] {
        let contents = fs::read(world.path(&format!("run/{file}"))).unwrap();
        let text = String::from_utf8_lossy(&contents).to_lowercase();
        assert!(!text.contains("accuracy") && !text.contains("\"nan\""), "{file}");
    }
    // Every line of metrics.csv has the same number of columns.
    let table = world.read("run/metrics.csv");
    assert!(table.lines().all(|line| line.split(',').count() == 10), "{table}");
    // The loss is the variance of the noise, 0.01, which 120 rows estimate to about a third. Values
    // are in units of their standard deviation.
    let (loss, unit) =
        (summary["test_loss"].as_f64().unwrap(), summary["target_std"].as_f64().unwrap());
    assert!((0.006..0.016).contains(&(loss * unit * unit)), "{loss} {unit}");
    // The best epoch has the lowest validation loss.
    let losses: Vec<f64> = world
        .read("run/metrics.jsonl")
        .lines()
        .map(|line| json(line)["val_loss"].as_f64().unwrap())
        .collect();
    let lowest = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(summary["val_loss"], lowest);
    assert!(world.read("run/report.html").contains("Test loss: "));
    let scored = json(&stdout(&world.expect(0, "eval run --json", &[])));
    assert_eq!(scored["loss"], loss);
    assert!(scored["r_squared"].as_f64().unwrap() > 0.98, "{scored}");
    assert_eq!(scored["target_std"], unit);
    let root_mean_squared_error = scored["root_mean_squared_error"].as_f64().unwrap();
    assert!((root_mean_squared_error - unit * loss.sqrt()).abs() < 1e-5);
    world.expect(0, "report run", &[]);
    // A target column that is the sum of the others is predicted.
    let text: String =
        (0..120).map(|i| format!("{},{},{}\n", i % 11, i % 7, i % 11 + i % 7)).collect();
    world.write("sums.csv", &format!("a,b,sum\n{text}"));
    let train = "train --data sums.csv --target sum --preset linear --epochs 200 --lr 0.1 \
                 --batch 16 --optimizer adamw --out sums --quiet";
    world.expect(0, train, &[]);
    let predicted = json(&stdout(&world.expect(0, "predict sums sums.csv --json", &[])));
    assert!((predicted[10]["value"].as_f64().unwrap() - 13.0).abs() < 0.3, "{}", predicted[10]);
    assert!(stdout(&world.expect(0, "predict sums sums.csv", &[])).contains("value"));

    // Counts whose logarithm is linear in the columns; predictions are rates.
    let rate = |i: usize| (1 << (i % 4)) * [1, 3, 9][i % 3];
    let text: String = (0..120).map(|i| format!("{},{},{}\n", i % 4, i % 3, rate(i))).collect();
    world.write("rates.csv", &format!("a,b,count\n{text}"));
    let counts = "preset = \"linear\"\nloss = { kind = \"poisson\" }\nepochs = 100\nbatch = 16\n\
                  optimizer = { kind = \"adam\" }\nlr = 0.05\n";
    world.write("counts.toml", counts);
    let train = "train --config counts.toml --data rates.csv --target count --out counts --quiet";
    world.expect(0, train, &[]);
    let scored = json(&stdout(&world.expect(0, "eval counts --json", &[])));
    assert!(scored["r_squared"].as_f64().unwrap() > 0.99, "{scored}");
    assert_eq!(scored["target_std"], Value::Null);
    let predicted = json(&stdout(&world.expect(0, "predict counts rates.csv --json", &[])));
    for (i, row) in predicted.as_array().unwrap().iter().enumerate() {
        let ratio = row["value"].as_f64().unwrap() / f64::from(rate(i));
        assert!((0.8..1.25).contains(&ratio), "{row}, not {}", rate(i));
    }

    for (arguments, text) in
        [("--preset svm", "loss"), ("--preset logistic --config loss.toml", "--config")]
    {
        world.write("loss.toml", "loss = { kind = \"cross_entropy\" }\n");
        world.expect(2, &format!("train --dataset linear {arguments}"), &[text]);
    }
    world.expect(2, "train --dataset linear --config loss.toml", &["loss", "mse, mae, huber"]);
    world.write("counts.toml", "loss = { kind = \"poisson\" }\n");
    let text = ["loss", "at least 0", "training row"];
    world.expect(2, "train --dataset linear --config counts.toml", &text);
    let text = ["standardise_target", "poisson"];
    let counts = "loss = { kind = \"poisson\" }\nstandardise_target = true\n";
    world.write("counts.toml", counts);
    world.expect(2, "train --dataset linear --config counts.toml", &text);
    world.write("early.toml", "early_stopping = { monitor = \"val_accuracy\" }\n");
    world.expect(2, "train --dataset linear --config early.toml", &["early_stopping", "val_loss"]);
    world.write("mixing.toml", "mixing = { kind = \"mixup\", alpha = 0.2 }\n");
    world.expect(2, "train --dataset linear --config mixing.toml", &["mixing", "values"]);
}

/// Checks the same regression in three units: equal metrics, and predictions in the unit.
#[test]
fn the_unit_of_values_changes_no_metric() {
    let world = World::new();
    let train = "--preset linear --epochs 40 --lr 0.02 --batch 16 --optimizer adamw";
    let mut metrics = Vec::new();
    for (name, unit, offset) in [("units", 1.0, 0.0), ("cents", 1e6, 5e7), ("small", 1e-6, 0.0)] {
        let row = |i: u32| {
            let (a, b) = (i % 11, i % 7);
            format!("{a},{b},{}\n", unit * f64::from(3 * a + b + i % 2) + offset)
        };
        world.write("t.csv", &format!("a,b,price\n{}", (0..300).map(row).collect::<String>()));
        world.expect(
            0,
            &format!("train --data t.csv --target price {train} --out {name}"),
            &["values are standardised", "own unit"],
        );
        assert!(world.read(&format!("{name}/config.toml")).contains("unstandardise"));
        let scored = json(&stdout(&world.expect(0, &format!("eval {name} --json"), &[])));
        let line = stdout(&world.expect(0, &format!("eval {name}"), &[]));
        assert!(line.contains("values in units of"), "{line}");
        let predicted =
            json(&stdout(&world.expect(0, &format!("predict {name} t.csv --json"), &[])));
        // Row 10: a = 10, b = 3.
        let value = (predicted[10]["value"].as_f64().unwrap() - offset) / unit;
        assert!((value - 33.5).abs() < 1.5, "{name}: {value}");
        metrics.push([
            scored["r_squared"].as_f64().unwrap(),
            scored["mean_absolute_error"].as_f64().unwrap() / unit,
        ]);
    }
    for [r_squared, error] in &metrics {
        assert!(*r_squared > 0.99 && (error / metrics[0][1] - 1.0).abs() < 0.02, "{metrics:?}");
    }

    // A resumed run has the same bits. Standardisation can be disabled.
    world.expect(
        0,
        &format!("train --data t.csv --target price {train} --max-steps 30 --out stopped --quiet"),
        &[],
    );
    world.expect(0, "train --resume stopped --quiet", &[]);
    assert_eq!(world.sha("stopped"), world.sha("small"));
    world.write("plain.toml", "standardise_target = false\nepochs = 1\npreset = \"linear\"\n");
    world.expect(
        0,
        "train --config plain.toml --data t.csv --target price --out plain --quiet",
        &[],
    );
    assert!(!world.read("plain/config.toml").contains("unstandardise"));
    assert!(world.summary("plain").get("target_std").is_none());
    world.write("classes.toml", "standardise_target = true\n");
    world.expect(2, "train --config classes.toml --data tiny", &["standardise_target", "values"]);
    world.write(
        "layers.toml",
        "standardise_target = true\nlayers = [{ kind = \"dense\", units = 1 }]\n",
    );
    world.expect(
        2,
        "train --config layers.toml --data t.csv --target price",
        &["standardise_target", "layers"],
    );
}

/// Checks that a run is tied to the contents of its data, not to their path.
#[test]
fn a_run_resumes_with_moved_data() {
    let world = World::new();
    flowers(&world);
    world.expect(0, &format!("{TRAIN} --out whole"), &[]);
    let folds = format!("{TRAIN} --folds 2 --max-steps 3");
    for (name, train) in [("run", format!("{TRAIN} --max-steps 13")), ("all", folds)] {
        world.expect(0, &format!("{train} --out {name}"), &[]);
    }
    fs::rename(world.path("flowers.csv"), world.path("moved.csv")).unwrap();
    world.expect(3, "train --resume run --quiet", &["flowers.csv", "--resume run --data PATH"]);
    let other = world.read("moved.csv").replacen("0,aster,0", "7,aster,0", 1);
    assert_ne!(other, world.read("moved.csv"));
    world.write("other.csv", &other);
    world.expect(
        3,
        "train --resume run --data other.csv --quiet",
        &["the data that the run started with", "--data"],
    );
    world.expect(0, "train --resume run --data moved.csv --quiet", &[]);
    assert_eq!(world.sha("run"), world.sha("whole"));
    world.expect(0, "train --resume all --data moved.csv --quiet", &[]);
    // Other flags of the configuration are refused.
    for flag in ["--seed 1", "--label kind", "--preset mlp", "--dataset digits"] {
        world.expect(2, &format!("train --resume run {flag}"), &["--resume"]);
    }
}

/// Checks that messages and reports about tables speak of rows, not of images. Pages are searched
/// below their style sheet.
#[test]
fn messages_about_tables_speak_of_rows() {
    let world = World::new();
    flowers(&world);
    let text: String =
        (0..120).map(|i| format!("{},{},{}\n", i % 11, i % 7, i % 11 + i % 7)).collect();
    world.write("sums.csv", &format!("a,b,sum\n{text}"));
    let classes = "--data flowers.csv --label kind";
    let values = "--data sums.csv --target sum --preset linear";
    let mut texts = Vec::new();
    for (name, data) in [("kinds", classes), ("sums", values)] {
        let mut run = |arguments: String| {
            let output = world.expect(0, &arguments, &[]);
            texts.push(format!("{}{}", stdout(&output), stderr(&output)));
        };
        run(format!("train {data} --epochs 3 --out {name}"));
        run(format!("train {data} --dry-run"));
        run(format!("eval {name}"));
        run(format!("data info {}", data.replace(" --preset linear", "")));
        run(format!("lr-find {data} --steps 20"));
        let overfit = world.run(&format!("train {data} --overfit-batch --max-steps 1"));
        assert_eq!(overfit.status.code(), Some(4));
        texts.push(format!("{}{}", stdout(&overfit), stderr(&overfit)));
        let page = world.read(&format!("{name}/report.html"));
        texts.push(page.split("</style>").nth(1).unwrap().into());
        for key in ["validation", "folds"] {
            world.write("wrong.toml", &format!("{key} = 100000\n"));
            let output = world
                .run(&format!("train {data} --config wrong.toml").replace("--preset linear ", ""));
            texts.push(stderr(&output));
        }
    }
    world.expect(0, "report kinds sums", &[]);
    texts.push(world.read("comparison.html").split("</style>").nth(1).unwrap().into());
    let text = texts.join("\n");
    for term in ["image", "digit", "pixel", "picture", "NaN"] {
        let start = text.to_lowercase().find(&term.to_lowercase());
        let context = |start: usize| &text[start.saturating_sub(80)..(start + 40).min(text.len())];
        assert_eq!(start.map(context), None, "{term}");
    }
    for part in [
        "was trained on 147 rows of flowers.csv",
        "on 40 rows that took no part in training",
        "<td>Rows</td><td>147 to train on, 13 to validate, 40 to test</td>",
        ">predicted class</text>",
        "<h2>Test rows</h2>",
        "<td>0 aster</td>",
        "on validation rows",
        "147 rows, 2 steps per epoch",
        "of 40 rows",
        "expected 1 to 159 of the 160 training rows, got 100000",
        "2 to the number of training rows, 160, got 100000",
        "of its rows right",
        "expected a tenth of it",
    ] {
        assert!(text.contains(part), "no `{part}`");
    }
    // Reports of regressions have no accuracies, and rank by loss.
    assert!(!world.read("sums/report.html").contains("Validation accuracy"));
    world.expect(0, "report sums sums --out both.html", &[]);
    let both = world.read("both.html");
    assert!(
        both.contains("is <b>sums</b>, with a loss of") && !both.contains("Validation accuracy")
    );
    // A network overfits a batch of values.
    let overfit = format!("train {} --overfit-batch", values.replace(" --preset linear", ""));
    let overfit = stdout(&world.expect(0, &overfit, &[]));
    assert!(
        overfit.starts_with("88 rows, 300 steps: loss") && !overfit.contains("accuracy"),
        "{overfit}"
    );
}

#[test]
fn generated_classes_are_learned_and_written() {
    let world = World::new();
    world.write(
        "made.toml",
        "dataset = \"classification\"\nepochs = 10\nbatch = 16\n\
         classification = { samples = 600, features = 6, informative = 3, classes = 3, \
         clusters = 1, separation = 3.0, flip = 0.0 }\n",
    );
    world.expect(0, "train --config made.toml --out run --quiet --min-accuracy 0.95", &[]);
    assert!(world.read("run/config.toml").contains("dataset = \"classification\""));
    let summary = world.summary("run");
    assert_eq!(
        (&summary["data_synthetic"], &summary["columns"][2]),
        (&true.into(), &"informative_3".into())
    );
    world.expect(
        0,
        "train --config run/config.toml --out again --quiet --threads 1 --isa scalar",
        &[],
    );
    assert_eq!(world.sha("again"), world.sha("run"));

    world.expect(
        0,
        "data synth --dataset classification --train 80 --test 20 --seed 3 --out made.csv",
        &[],
    );
    let text = world.read("made.csv");
    assert_eq!(text.lines().count(), 101);
    assert!(text.starts_with("informative_1,informative_2,redundant_1,"), "{}", &text[..100]);
    world.expect(2, "data synth --dataset linear --out made.csv", &["made.csv", "--force"]);
    world.expect(0, "data synth --dataset linear --train 80 --test 20 --out made.csv --force", &[]);
    assert!(world.read("made.csv").lines().next().unwrap().ends_with("x_10,value"));
    let info = stdout(&world.expect(0, "data info --data made.csv --target value", &[]));
    assert!(info.contains("values of rows of 10 columns") && info.contains("80 rows"), "{info}");
    world.expect(2, "data synth --dataset mnist --out x", &["mnist", "classification"]);

    world.write("bad.toml", "dataset = \"classification\"\nclassification = { clusters = 4 }\n");
    world.expect(
        2,
        "train --config bad.toml",
        &["classification", "clusters", "2^informative", "got 4"],
    );
    world.expect(
        2,
        "train --config made.toml --dataset digits",
        &["classification", "`dataset = \"classification\"`"],
    );
}

/// File as `numpy.save` writes it.
pub(crate) fn npy(descr: &str, shape: &str, elements: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(elements);
    file
}

/// Writes an archive of arrays, which are deflated and stored in turns.
pub(crate) fn npz(world: &World, name: &str, arrays: &[(&str, Vec<u8>)]) {
    let mut archive = zip::ZipWriter::new(fs::File::create(world.path(name)).unwrap());
    let deflated =
        SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (index, (name, bytes)) in arrays.iter().enumerate() {
        archive
            .start_file(format!("{name}.npy"), if index % 2 == 0 { deflated } else { stored })
            .unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
}

#[test]
fn arrays_train_to_the_bits_of_the_same_images_in_idx_format() {
    let world = World::new();
    let (train, test) = (crate::world::images(300, 1), crate::world::images(90, 2));
    let labels = |set: &runner::data::Labelled| {
        set.labels().iter().flat_map(|&l| i64::from(l).to_le_bytes()).collect::<Vec<_>>()
    };
    let arrays = [
        ("x_train", npy("|u1", "(300, 6, 6)", train.pixels())),
        ("y_train", npy("<i8", "(300,)", &labels(&train))),
        ("x_test", npy("|u1", "(90, 6, 6)", test.pixels())),
        ("y_test", npy("|u1", "(90,)", test.labels())),
    ];
    npz(&world, "tiny.npz", &arrays);
    let common = "--epochs 2 --quiet --out";
    world.expect(0, &format!("train --data tiny {common} idx"), &[]);
    world.expect(0, &format!("train --data tiny.npz {common} npz"), &[]);
    assert_eq!(world.sha("npz"), world.sha("idx"));
    fs::create_dir(world.path("arrays")).unwrap();
    for (name, bytes) in &arrays {
        fs::write(world.path(&format!("arrays/{name}.npy")), bytes).unwrap();
    }
    world.expect(0, &format!("train --data arrays {common} npy"), &[]);
    assert_eq!(world.sha("npy"), world.sha("idx"));
    world.expect(0, "data show --data tiny.npz --count 4 --out sheet.png", &[]);

    // Images of floats are used unchanged. Without a test set, a part is held out.
    let floats: Vec<u8> =
        train.pixels().iter().flat_map(|&p| (f64::from(p) / 255.0).to_le_bytes()).collect();
    npz(&world, "floats.npz", &[arrays[1].clone()]);
    world.expect(3, "train --data floats.npz", &["both x_train and y_train, found y_train alone"]);
    npz(
        &world,
        "floats.npz",
        &[("x", npy("<f8", "(300, 6, 6)", &floats)), ("y", arrays[1].1.clone())],
    );
    world.expect(0, &format!("train --data floats.npz --preset lenet {common} floats"), &[]);
    assert_eq!(world.summary("floats")["test_examples"], 60);
    world.expect(0, "data show --data floats.npz", &[]);
    world.expect(0, "report floats", &[]);

    // Arrays of rows, and predictions for new ones.
    npz(&world, "rows.npz", &[("x", npy("<f8", "(300, 36)", &floats)), ("y", arrays[1].1.clone())]);
    world.expect(0, "train --data rows.npz --min-accuracy 0.9 --epochs 8 --out rows", &[]);
    fs::write(world.path("new.npy"), npy("<f8", "(3, 36)", &floats[..3 * 36 * 8])).unwrap();
    let predicted = json(&stdout(&world.expect(0, "predict rows new.npy --json", &[])));
    assert_eq!([0, 1, 2].map(|row| predicted[row]["label"].as_i64()), [Some(0), Some(1), Some(2)]);
    fs::write(world.path("wide.npy"), npy("<f8", "(3, 37)", &floats[..3 * 37 * 8])).unwrap();
    world.expect(3, "predict rows wide.npy", &["rows of 36 columns", "37 columns"]);
    world.write("new.csv", "a\n1\n");
    world.expect(3, "predict rows new.csv", &["new.csv", ".npy"]);
}
