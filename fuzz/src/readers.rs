//! Assertions about readers for arbitrary bytes. Each is a fuzz target; the runner's test `corpus`
//! replays the seeds in `fuzz/seeds` with them.

use std::io::Cursor;
use std::path::Path;
use std::sync::OnceLock;

use doctor::{Settings, Severity, judge};
use kernels::Cpu;
use nn::{Init, LayerSpec, Network, Plan, Shape};
use runner::data::idx::Array;
use runner::data::npy::Elements;
use runner::data::scan::{Invert, Preparation};
use runner::data::table::TargetColumn;
use runner::data::{Inputs, Labelled, arrays, folder, npy, scan, table};
use runner::diagnosis::record_file;
use runner::run::checkpoint::{Checkpoint, Identity, encode};
use runner::run::config::{Config, NonFinite};
use runner::run::setup::Setup;
use runner::run::state::{Position, State};
use runner::training::initial;

/// Reads `bytes` as an IDX file, raw or gzipped. If it is accepted, its dimensions match its data.
pub fn idx(bytes: &[u8]) {
    let path = Path::new("fuzzed");
    if let Ok(images) = Array::<3>::parse(bytes, path) {
        let elements: u64 = images.dims.iter().map(|&dim| u64::from(dim)).product();
        assert_eq!(images.data.len() as u64, elements);
    }
    if let Ok(labels) = Array::<1>::parse(bytes, path) {
        assert_eq!(labels.data.len() as u64, u64::from(labels.dims[0]));
    }
}

/// Reads `bytes` as a PNG image. If it is accepted, the number of pixels is the network's.
pub fn picture(bytes: &[u8]) {
    let centre = bytes.len().is_multiple_of(2);
    let preparation = Preparation { rows: 28, cols: 28, invert: Invert::Auto, centre };
    if let Ok(image) = scan::parse(bytes, Path::new("input"), preparation) {
        assert_eq!(image.pixels.len(), 28 * 28);
    }
}

/// Reads `bytes` as a table, an array and an archive of arrays. If they are accepted, their numbers
/// are finite and match their shapes.
pub fn table(bytes: &[u8]) {
    let path = Path::new("fuzzed");
    for target in [TargetColumn::Label("y".into()), TargetColumn::Target("y".into())] {
        if let Ok(table) = table::parse(bytes, path, &target, &mut |_| {}) {
            assert_eq!(table.rows.cols(), table.columns.len());
            let Inputs::Numbers(numbers) = table.rows.inputs() else {
                panic!("the inputs of a table are numbers")
            };
            assert!(numbers.iter().all(|x| x.is_finite()));
        }
    }
    if let Ok(array) = npy::parse(bytes, path) {
        let len = match array.elements {
            Elements::Bytes(all) => all.len(),
            Elements::Integers(all) => all.len(),
            Elements::Floats(all) => all.len(),
        };
        assert_eq!(len, array.shape.iter().product::<usize>());
    }
    if let Ok(set) = arrays::parse(Cursor::new(bytes), path, &mut |_| {}) {
        assert!(!set.train.is_empty());
    }
}

/// Reads `bytes` as a record of a training. If it is accepted, it is judged: each finding has a
/// confidence from 0 to 1, and a message. Written and read back, it is the same record.
pub fn doctor_record(bytes: &[u8]) {
    let path = Path::new("record.jsonl");
    let Ok(record) = record_file::parse(bytes, path) else { return };
    let verdict = judge(&record, &Settings::default());
    for finding in &verdict.findings {
        assert!((0.0..=1.0).contains(&finding.confidence), "{}", finding.id);
        assert!(!finding.message.is_empty(), "{}", finding.id);
    }
    let has_warning = verdict.findings.iter().any(|finding| finding.severity > Severity::Info);
    assert_eq!(verdict.is_healthy(), !has_warning);
    let mut lines = vec![serde_json::to_string(&doctor::Entry::Model(record.model.clone()))];
    lines.extend(
        record.steps.iter().cloned().map(|step| serde_json::to_string(&doctor::Entry::Step(step))),
    );
    let lines: Result<Vec<String>, _> = lines.into_iter().collect();
    let text = lines.expect("entries are written").join("\n") + "\n";
    let read = record_file::parse(text.as_bytes(), path).expect("what was written");
    // NaN is not equal to itself.
    assert_eq!(format!("{:?}", read.model), format!("{:?}", record.model));
    assert_eq!(format!("{:?}", read.steps), format!("{:?}", record.steps));
}

/// Parses `text` as a configuration. If it is accepted, it is written and read back unchanged, and
/// building its network does not panic.
pub fn configuration(text: &str) {
    let path = Path::new("input.toml");
    let Ok(config) = Config::parse(text, path) else { return };
    if config.check().is_err() {
        return;
    }
    if let Ok(written) = config.to_toml() {
        let read = Config::parse(&written, path).expect("a written configuration");
        assert_eq!(read.to_toml().expect("a read configuration"), written);
    }
    let layers = config.layers.clone().unwrap_or_else(|| config.preset.layers(10));
    let input = Shape::Image { height: 28, width: 28, channels: 1 };
    if let Ok(network) = Network::new(input, &layers) {
        let _ = Plan::new(network.layout(), config.optimizer, &config.groups);
    }
}

/// Reads `bytes` as a checkpoint. Bytes that are a position in JSON are also put into a valid
/// checkpoint, to reach the code after the check of its checksum.
pub fn checkpoint(bytes: &[u8]) {
    let (setup, identity) = setup();
    let (cpu, path) = (Cpu::detect(), Path::new("input"));
    let decode = |bytes: &[u8]| Checkpoint::new(bytes.into(), path, identity)?.state(setup, cpu);
    let _: Result<State<f32>, _> = decode(bytes);
    if let Ok(position) = serde_json::from_slice::<Position>(bytes) {
        let state = State::<f32> { position, ..initial::state(setup, cpu).expect("memory") };
        let valid = encode(identity, &state).expect("memory");
        if let Ok(read) = decode(&valid) {
            let text = |state: &State<f32>| serde_json::to_string(&state.position).expect("JSON");
            assert_eq!(text(&read), text(&state));
            assert_eq!((read.weights, read.snapshot), (state.weights, state.snapshot));
        }
    }
}

/// Returns the setup of a run with nine images of 2 x 2.
fn setup() -> &'static (Setup, Identity) {
    static SETUP: OnceLock<(Setup, Identity)> = OnceLock::new();
    SETUP.get_or_init(|| {
        let images = || {
            Labelled::new((0..36).collect(), (0..9).map(|i| i % 3).collect(), 2, 2)
                .expect("nine images")
        };
        let data = tempfile::tempdir().expect("a folder");
        folder::write(data.path(), &images(), &images()).expect("space on the disk");
        let config = Config {
            data: Some(data.path().into()),
            validation: Some(3),
            batch: 2,
            non_finite: NonFinite::Rollback,
            layers: Some([LayerSpec::dense(3, Init::GlorotUniform)].into()),
            ..Config::default()
        };
        let setup = Setup::new(config).expect("values in range");
        let identity = Identity::new(&setup).expect("a valid configuration");
        (setup, identity)
    })
}
