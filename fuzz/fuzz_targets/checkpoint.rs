//! Whatever the bytes: a checkpoint is refused in words, or read; no panic. Bytes that are a position are put into a checkpoint that is whole,
//! so that what stands behind its checksum is reached as well.
#![no_main]

use std::path::Path;
use std::sync::OnceLock;

use kernels::Cpu;
use libfuzzer_sys::fuzz_target;
use nn::{Init, LayerSpec};
use runner::checkpoint::{Identity, decode, encode};
use runner::config::Config;
use runner::data::{Labelled, folder};
use runner::non_finite::NonFinite;
use runner::setup::Setup;
use runner::training::{Position, State};

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

fuzz_target!(|bytes: &[u8]| {
    let (setup, identity) = setup();
    let (cpu, path) = (Cpu::detect(), Path::new("input"));
    let _ = decode::<f32>(bytes, path, setup, identity, cpu);
    if let Ok(position) = serde_json::from_slice::<Position>(bytes) {
        let state = State::<f32> { position, ..State::fresh(setup, cpu).expect("room") };
        let whole = encode(identity, &state).expect("room");
        if let Ok(read) = decode::<f32>(&whole, path, setup, identity, cpu) {
            let text = |state: &State<f32>| serde_json::to_string(&state.position).expect("plain");
            assert_eq!(text(&read), text(&state));
            assert_eq!((read.weights, read.anchor), (state.weights, state.anchor));
        }
    }
});
