//! Frameworks that train whole models, each in a process of its own: `frameworks.py`.

use std::io;

use super::Process;
use runner::data::Labelled;

/// A framework to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framework {
    /// PyTorch, with its fused Adam.
    Torch,
    /// JAX with optax, the steps in one compiled loop.
    Jax,
    /// Keras on `TensorFlow`.
    Keras,
    /// ONNX Runtime, for inference alone.
    Onnx,
}

impl Framework {
    /// All frameworks.
    pub const ALL: [Self; 4] = [Self::Torch, Self::Jax, Self::Keras, Self::Onnx];

    /// Name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Torch => "torch",
            Self::Jax => "jax",
            Self::Keras => "keras",
            Self::Onnx => "onnx",
        }
    }

    /// Environment variable that names a Python with the framework.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Torch => "EVENKEEL_TORCH_PYTHON",
            Self::Jax => "EVENKEEL_JAX_PYTHON",
            Self::Keras => "EVENKEEL_KERAS_PYTHON",
            Self::Onnx => "EVENKEEL_ONNX_PYTHON",
        }
    }
}

/// The frameworks of this machine.
#[derive(Debug, Default)]
pub struct Frameworks(Vec<(Framework, Process)>);

/// A training to measure.
#[derive(Clone, Copy, Debug)]
pub struct Training<'a> {
    /// Name of a preset.
    pub model: &'a str,
    /// Images per step.
    pub batch: usize,
    /// Global norm that gradients are clipped to; 0 for none.
    pub clip: f64,
    /// f32 or bf16.
    pub dtype: &'a str,
    /// Steps per repetition.
    pub steps: u32,
}

impl Frameworks {
    /// Starts the frameworks that the environment names, with these threads and images. Reports
    /// the others on stderr.
    pub fn start(threads: usize, images: &Labelled) -> Self {
        let start = |framework: Framework| {
            let arguments = [framework.name(), &threads.to_string()];
            let script = include_str!("frameworks.py");
            let mut process = Process::start(framework.variable(), script, &arguments)?;
            let line = format!("data {} {}\n", images.len(), images.image_len());
            let sent = process.send(&[line.as_bytes(), images.pixels(), images.labels()]);
            sent.map(|()| (framework, process)).map_err(|error| error.to_string())
        };
        let started = Framework::ALL.into_iter().filter_map(|framework| {
            start(framework)
                .inspect_err(|reason| eprintln!("{}: missing ({reason})", framework.name()))
                .ok()
        });
        Self(started.collect())
    }

    /// The frameworks that can train this, ready to start.
    pub fn trainers(
        &mut self,
        training: Training<'_>,
    ) -> io::Result<Vec<(Framework, &mut Process)>> {
        let Training { model, batch, clip, dtype, steps } = training;
        let line = format!("train {model} {batch} {clip} {dtype} {steps}\n");
        let mut ready = Vec::new();
        for (framework, process) in
            self.0.iter_mut().filter(|(framework, _)| *framework != Framework::Onnx)
        {
            process.send(&[line.as_bytes()])?;
            if process.line()? == "ready" {
                ready.push((*framework, process));
            }
        }
        Ok(ready)
    }

    /// ONNX Runtime with this model, ready to predict `batch` images at a time.
    pub fn predictor(&mut self, batch: usize, model: &[u8]) -> io::Result<Option<&mut Process>> {
        let found = self.0.iter_mut().find(|(framework, _)| *framework == Framework::Onnx);
        let Some((_, process)) = found else { return Ok(None) };
        process.send(&[format!("infer {batch} {}\n", model.len()).as_bytes(), model])?;
        Ok((process.line()? == "ready").then_some(process))
    }
}
