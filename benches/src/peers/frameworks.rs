//! Frameworks that train whole models, each in a process of its own that works on request: `frameworks.py`.

use std::io;

use super::Process;
use runner::data::Labelled;

/// What a user would pick instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framework {
    /// PyTorch, with its fused Adam.
    Torch,
    /// JAX with optax, the steps in one compiled loop.
    Jax,
    /// Keras on `TensorFlow`.
    Keras,
    /// ONNX Runtime, which answers and does not train.
    Onnx,
}

impl Framework {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Torch, Self::Jax, Self::Keras, Self::Onnx];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Torch => "torch",
            Self::Jax => "jax",
            Self::Keras => "keras",
            Self::Onnx => "onnx",
        }
    }

    /// The environment variable that names a Python that has it.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Torch => "EVENKEEL_TORCH_PYTHON",
            Self::Jax => "EVENKEEL_JAX_PYTHON",
            Self::Keras => "EVENKEEL_KERAS_PYTHON",
            Self::Onnx => "EVENKEEL_ONNX_PYTHON",
        }
    }
}

/// Those that there are.
#[derive(Debug, Default)]
pub struct Frameworks(Vec<(Framework, Process)>);

/// What is to be trained.
#[derive(Clone, Copy, Debug)]
pub struct Training<'a> {
    /// A preset's name.
    pub model: &'a str,
    /// Images a step.
    pub batch: usize,
    /// The global norm that gradients are clipped to; 0 for none.
    pub clip: f64,
    /// f32 or bf16.
    pub dtype: &'a str,
    /// Steps that count as one work.
    pub steps: u32,
}

impl Frameworks {
    /// Those that the environment names, with so many threads and these images; the others are named on stderr.
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

    /// Those that train this, ready to.
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

    /// What answers `batch` images at a time by this model of ONNX, ready to.
    pub fn answerer(&mut self, batch: usize, model: &[u8]) -> io::Result<Option<&mut Process>> {
        let found = self.0.iter_mut().find(|(framework, _)| *framework == Framework::Onnx);
        let Some((_, process)) = found else { return Ok(None) };
        process.send(&[format!("infer {batch} {}\n", model.len()).as_bytes(), model])?;
        Ok((process.line()? == "ready").then_some(process))
    }
}
