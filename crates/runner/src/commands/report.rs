//! `evenkeel report`: re-renders the report of a run from its folder, or compares several runs.

use std::path::{Path, PathBuf};

use kernels::Cpu;

use crate::Error;
use crate::commands::output;
use crate::commands::output::refuse_if;
use crate::data::element::Element;
use crate::data::replace::replace_with;
use crate::evaluation::predictions::Predictions;
use crate::report::comparison::{Compared, Comparison, settings};
use crate::report::page::Page;
use crate::report::{ReportInput, html};
use crate::run::config::{Config, Dtype};
use crate::run::folder::RunFolder;
use crate::run::setup::Setup;
use crate::run::summary::Status;
use crate::run::{folder, health, journal, setup, weights};

/// Default file of a comparison.
const COMPARISON: &str = "comparison.html";

/// Options of `report`.
#[derive(Clone, Debug)]
pub struct Request {
    /// Run folders: one, or several to compare.
    pub runs: Vec<PathBuf>,
    /// File to write; `None` for `report.html` in the run folder, or `comparison.html`.
    pub out: Option<PathBuf>,
    /// Replace an existing file. The report in the run folder is always replaced.
    pub force: bool,
    /// New path of the run's data; `None` for the path in the configuration.
    pub data: Option<PathBuf>,
}

/// Writes the report, and prints the name of its file.
///
/// # Errors
/// [`Error`], if a run or its data cannot be read, or the file exists.
pub fn report(request: &Request) -> Result<(), Error> {
    let folders =
        request.runs.iter().map(|run| RunFolder::open(run)).collect::<Result<Vec<_>, _>>()?;
    let (out, page) = match &folders[..] {
        [] => {
            return Err(Error::Usage("report: expected at least one run folder, got none".into()));
        }
        [folder] => {
            let out = request.out.clone().unwrap_or_else(|| folder.file(folder::REPORT));
            let own = request.out.is_none();
            refuse_if(out.exists() && !own && !request.force, &out)?;
            (out, run_page(folder, request.data.as_deref())?)
        }
        several => {
            let out = request.out.clone().unwrap_or_else(|| COMPARISON.into());
            refuse_if(out.exists() && !request.force, &out)?;
            (out, comparison_page(several)?)
        }
    };
    replace_with(&out, page.as_bytes())?;
    output::print(&out.display().to_string())
}

/// Renders the report of the run in `folder`.
fn run_page(folder: &RunFolder, data: Option<&Path>) -> Result<String, Error> {
    let (summary, history) = (folder::summary(folder)?, journal::history(folder)?);
    let mut config = Config::read(&folder.file(folder::CONFIG))?;
    config.data = data.map(Path::to_path_buf).or(config.data);
    // The run may come from a machine with another instruction set: a report needs no certain one.
    let isa = setup::isa(&config).unwrap_or_else(|_| kernels::Isa::detect());
    let setup = Setup::of_run(config, folder)?;
    let pool = setup::pool(&setup.config)?;
    let cpu = Cpu::new(isa, &pool);
    let health = health::read(&folder.file(folder::HEALTH))?;
    let input =
        ReportInput { setup: &setup, summary: &summary, history: &history, health: &health };
    pool.enter(|| match setup.config.dtype {
        Dtype::F32 | Dtype::Bf16 => render::<f32>(folder, input, cpu),
        Dtype::F64 => render::<f64>(folder, input, cpu),
    })
}

/// Predicts the test set if the run is done, and renders the report.
fn render<T: Element>(
    folder: &RunFolder,
    input: ReportInput<'_>,
    cpu: Cpu<'_>,
) -> Result<String, Error> {
    let ReportInput { setup, summary, .. } = input;
    if summary.status != Status::Done || setup.dataset.has_values() {
        return html::<T>(input, cpu, None);
    }
    let test = &setup.dataset.test;
    let (mut weights, _) = weights::read::<T>(&folder::model(folder)?, &setup.network)?;
    let indices: Vec<u32> = (0..test.dims()[0]).collect();
    let predictions = Predictions::new(&setup.network, cpu, &mut weights, test, &indices)?;
    html(input, cpu, Some((&mut weights, &predictions)))
}

/// Renders the comparison of several runs.
fn comparison_page(folders: &[RunFolder]) -> Result<String, Error> {
    let read = |folder: &RunFolder| {
        let path = folder.file(folder::CONFIG);
        let config = Config::read(&path)?.to_toml()?;
        let config = config.parse::<toml::Table>();
        let config = config.map_err(|error| Error::malformed(&path, "a configuration", error))?;
        let (summary, history) = (folder::summary(folder)?, journal::history(folder)?);
        let name = folder.path().display().to_string();
        Ok(Compared { name, summary, history, settings: settings(&config) })
    };
    let runs = folders.iter().map(read).collect::<Result<Vec<_>, Error>>()?;
    Ok(Page { title: "Comparison of runs", body: &Comparison(&runs).to_string() }.to_string())
}
