//! Assertions about readers, given any bytes: each is a fuzz target, and the runner's test `corpus`
//! replays the seeds in `fuzz/seeds` with it.

use std::io::Cursor;
use std::path::Path;
use std::sync::OnceLock;

use kernels::Cpu;
use nn::{Init, LayerSpec, Network, Plan, Shape};
use runner::data::idx::Array;
use runner::data::npy::Elements;
use runner::data::scan::{Invert, Preparation};
use runner::data::table::TargetColumn;
use runner::data::{Inputs, Labelled, arrays, folder, npy, scan, table};
use runner::run::checkpoint::{Checkpoint, Identity, encode};
use runner::run::config::{Config, NonFinite};
use runner::run::setup::Setup;
use runner::run::state::{Position, State};
use runner::training::initial;

/// Any bytes as an IDX file, raw or gzipped: read, or refused.
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

/// Any bytes as a PNG image: refused, or as many pixels as the network has inputs.
pub fn picture(bytes: &[u8]) {
    let centre = bytes.len().is_multiple_of(2);
    let preparation = Preparation { rows: 28, cols: 28, invert: Invert::Auto, centre };
    if let Ok(image) = scan::parse(bytes, Path::new("input"), preparation) {
        assert_eq!(image.pixels.len(), 28 * 28);
    }
}

/// Any bytes as a table, an array or an archive of arrays: refused, or they hold what they say.
pub fn table(bytes: &[u8]) {
    let path = Path::new("fuzzed");
    for goal in [TargetColumn::Label("y".into()), TargetColumn::Target("y".into())] {
        if let Ok(table) = table::parse(bytes, path, &goal, &mut |_| {}) {
            assert_eq!(table.rows.cols(), table.columns.len());
            let Inputs::Numbers(all) = table.rows.inputs() else {
                panic!("the inputs of a table are numbers")
            };
            assert!(all.iter().all(|x| x.is_finite()));
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

/// Any text as a configuration: refused, or written and read again as the same; its network is
/// built or refused.
pub fn configuration(text: &str) {
    let path = Path::new("input.toml");
    let Ok(config) = Config::parse(text, path) else { return };
    if config.check().is_err() {
        return;
    }
    if let Ok(written) = config.to_toml() {
        let read = Config::parse(&written, path).expect("what was written");
        assert_eq!(read.to_toml().expect("what was written"), written);
    }
    let layers = config.layers.clone().unwrap_or_else(|| config.preset.layers(10));
    let input = Shape::Image { height: 28, width: 28, channels: 1 };
    if let Ok(network) = Network::new(input, &layers) {
        let _ = Plan::new(network.layout(), config.optimizer, &config.groups);
    }
}

/// Any bytes as a checkpoint: refused or read. Bytes that are a position are put into a checkpoint
/// that is whole, so that the code behind its checksum is reached as well.
pub fn checkpoint(bytes: &[u8]) {
    let (setup, identity) = setup();
    let (cpu, path) = (Cpu::detect(), Path::new("input"));
    let decode = |bytes: &[u8]| Checkpoint::new(bytes.into(), path, identity)?.state(setup, cpu);
    let _: Result<State<f32>, _> = decode(bytes);
    if let Ok(position) = serde_json::from_slice::<Position>(bytes) {
        let state = State::<f32> { position, ..initial::state(setup, cpu).expect("room") };
        let whole = encode(identity, &state).expect("room");
        if let Ok(read) = decode(&whole) {
            let text = |state: &State<f32>| serde_json::to_string(&state.position).expect("plain");
            assert_eq!(text(&read), text(&state));
            assert_eq!((read.weights, read.snapshot), (state.weights, state.snapshot));
        }
    }
}

/// A run of nine images of two by two pixels.
fn setup() -> &'static (Setup, Identity) {
    static SETUP: OnceLock<(Setup, Identity)> = OnceLock::new();
    SETUP.get_or_init(|| {
        let images = || {
            Labelled::new((0..36).collect(), (0..9).map(|i| i % 3).collect(), 2, 2)
                .expect("nine images")
        };
        let data = tempfile::tempdir().expect("a folder");
        folder::write(data.path(), &images(), &images()).expect("room on the disk");
        let config = Config {
            data: Some(data.path().into()),
            validation: Some(3),
            batch: 2,
            non_finite: NonFinite::Rollback,
            layers: Some([LayerSpec::dense(3, Init::GlorotUniform)].into()),
            ..Config::default()
        };
        let setup = Setup::new(config).expect("values in range");
        let identity = Identity::new(&setup).expect("plain values");
        (setup, identity)
    })
}
