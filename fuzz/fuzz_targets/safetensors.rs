//! safetensors files, whole and damaged, as the weights of a network: loaded if all values are
//! finite, else an error. `cargo +nightly fuzz run safetensors`.
#![no_main]

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use arbitrary::Arbitrary;
use kernels::Cpu;
use libfuzzer_sys::fuzz_target;
use nn::{BatchNorm, Init, LayerSpec, Tensor};
use runner::data::Labelled;
use runner::data::folder;
use runner::run::config::Config;
use runner::run::config::InitFrom;
use runner::run::setup::Setup;
use runner::run::weights;
use runner::run::weights::ModelWeights;
use runner::training::transfer;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tempfile::TempDir;

#[derive(Debug, Arbitrary)]
enum Problem {
    Bytes(Vec<u8>),
    Arrays {
        arrays: Vec<Array>,
        /// Position and new value of one byte of the file.
        damage: Option<(u16, u8)>,
    },
}

#[derive(Debug, Arbitrary)]
struct Array {
    /// A tensor of the network, or another name.
    name: Result<u8, String>,
    kind: u8,
    /// Dimensions, where they are others than the tensor's.
    shape: Option<Vec<u8>>,
    /// Elements, repeated.
    bytes: Vec<u8>,
}

const KINDS: [Dtype; 8] = [
    Dtype::F32,
    Dtype::F64,
    Dtype::F16,
    Dtype::BF16,
    Dtype::I64,
    Dtype::U8,
    Dtype::I32,
    Dtype::BOOL,
];

/// A run of nine images that begins with the weights of a file in the folder.
fn setup() -> &'static (TempDir, Setup) {
    static SETUP: OnceLock<(TempDir, Setup)> = OnceLock::new();
    SETUP.get_or_init(|| {
        let images = || {
            Labelled::new((0..36).collect(), (0..9).map(|i| i % 3).collect(), 2, 2)
                .expect("nine images")
        };
        let data = tempfile::tempdir().expect("a folder");
        folder::write(data.path(), &images(), &images()).expect("capacity of the disk");
        let layers = [
            LayerSpec::BatchNorm(BatchNorm { epsilon: 1e-5, momentum: 0.1 }),
            LayerSpec::dense(3, Init::GlorotUniform),
        ];
        let config = Config {
            data: Some(data.path().into()),
            validation: Some(3),
            batch: 2,
            layers: Some(layers.into()),
            ..Config::default()
        };
        let mut setup = Setup::new(config).expect("values in range");
        let path = data.path().join("model.safetensors");
        setup.config.init_from = Some(InitFrom { path, ..InitFrom::default() });
        (data, setup)
    })
}

fn tensors(setup: &Setup) -> impl Iterator<Item = &Tensor> {
    setup.network.layout().tensors().iter().chain(setup.network.buffers().tensors())
}

/// The file of these arrays.
fn file(arrays: &[Array], setup: &Setup) -> Vec<u8> {
    let all: HashMap<_, _> = arrays
        .iter()
        .map(|array| {
            let known =
                array.name.as_ref().ok().and_then(|&at| tensors(setup).nth(usize::from(at) % 8));
            let (name, shape) = match (known, &array.name) {
                (Some(tensor), _) => (tensor.name.clone(), tensor.torch_shape()),
                (None, Err(name)) => (name.clone(), vec![2]),
                (None, Ok(at)) => (at.to_string(), vec![2]),
            };
            let other =
                |dims: &Vec<u8>| dims.iter().take(4).map(|&dim| usize::from(dim % 5)).collect();
            let shape: Vec<usize> = array.shape.as_ref().map_or(shape, other);
            let kind = KINDS[usize::from(array.kind) % KINDS.len()];
            let len = shape.iter().product::<usize>() * kind.bitsize() / 8;
            let byte =
                |at: usize| array.bytes.get(at % array.bytes.len().max(1)).copied().unwrap_or(0);
            (name, (kind, shape, (0..len).map(byte).collect::<Vec<_>>()))
        })
        .collect();
    let views = all.iter().map(|(name, (kind, shape, bytes))| {
        (name, TensorView::new(*kind, shape.clone(), bytes).expect("as many bytes as that takes"))
    });
    safetensors::serialize(views, None).expect("shapes that fit")
}

fuzz_target!(|problem: Problem| {
    let (folder, setup) = setup();
    let bytes = match &problem {
        Problem::Bytes(bytes) => bytes.clone(),
        Problem::Arrays { arrays, damage } => {
            let mut bytes = file(arrays, setup);
            if let Some((at, value)) = damage {
                let at = usize::from(*at) % bytes.len();
                bytes[at] = *value;
            }
            bytes
        }
    };
    let path = folder.path().join("model.safetensors");
    fs::write(&path, &bytes).expect("capacity of the disk");
    taken::<f32>(setup);
    taken::<f64>(setup);
    whole::<f32>(&path, setup);
    whole::<f64>(&path, setup);
});

/// Begins with the file's tensors.
fn taken<T: runner::data::element::Element>(setup: &Setup) {
    let mut weights = ModelWeights::<T>::initial(&setup.network, Cpu::detect(), 1).expect("memory");
    if let Ok(outcome) = transfer::load(setup, &mut weights) {
        let outcome = outcome.expect("the configuration names a file");
        assert!(!outcome.loaded.is_empty());
        assert_eq!(outcome.loaded.len() + outcome.missing.len(), tensors(setup).count());
        let mut all = weights.params.iter().chain(&weights.buffers);
        assert!(all.all(|value| value.to_f64().is_finite()));
    }
}

/// Reads the file as the model of a run, and writes it again.
fn whole<T: runner::data::element::Element>(path: &Path, setup: &Setup) {
    let Ok((read, sha256)) = weights::read::<T>(path, &setup.network) else { return };
    let (bytes, _) = weights::encode(&setup.network, &read).expect("shapes of the network");
    fs::write(path, &bytes).expect("capacity of the disk");
    let (again, _) = weights::read::<T>(path, &setup.network).expect("a file just written");
    let bits = |weights: &ModelWeights<T>| {
        let all = weights.params.iter().chain(&weights.buffers);
        all.map(|value| value.to_f64().to_bits()).collect::<Vec<_>>()
    };
    assert_eq!(bits(&again), bits(&read), "{sha256}");
}
