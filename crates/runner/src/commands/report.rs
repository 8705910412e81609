//! `evenkeel report`: the report of a run, drawn anew from its folder, or several runs side by side.

use std::fs;
use std::path::{Path, PathBuf};

use kernels::Cpu;

use crate::Error;
use crate::commands::output;
use crate::commands::output::refuse_if;
use crate::data::DataError;
use crate::data::element::Element;
use crate::data::replace::replace_with;
use crate::evaluation::predictions::Predictions;
use crate::report::comparison::{Compared, Comparison, settings};
use crate::report::page::Page;
use crate::report::{Material, html};
use crate::run::config::{Config, Dtype};
use crate::run::epoch::Epoch;
use crate::run::folder::RunFolder;
use crate::run::setup::Setup;
use crate::run::summary::Status;
use crate::run::{folder, health, setup, weights};

/// Where a comparison goes that is not told.
const COMPARISON: &str = "comparison.html";

/// What `report` is asked to do.
#[derive(Clone, Debug)]
pub struct Request {
    /// The run folders: one, or several to compare.
    pub runs: Vec<PathBuf>,
    /// The file to write; `None` for `report.html` of the run's folder, or `comparison.html`.
    pub out: Option<PathBuf>,
    /// Whether a file that is there is replaced. The report in a run's own folder always is.
    pub force: bool,
    /// The data, where they are no longer where the run found them.
    pub data: Option<PathBuf>,
}

/// Does it: prints the name of the file.
///
/// # Errors
/// [`Error`], if a run or its data cannot be read, or the file is there already.
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
            (out, one(folder, request.data.as_deref())?)
        }
        several => {
            let out = request.out.clone().unwrap_or_else(|| COMPARISON.into());
            refuse_if(out.exists() && !request.force, &out)?;
            (out, compared(several)?)
        }
    };
    replace_with(&out, page.as_bytes())?;
    output::print(&out.display().to_string())
}

/// The report of the run in `folder`.
fn one(folder: &RunFolder, data: Option<&Path>) -> Result<String, Error> {
    let (summary, history) = (folder::summary(folder)?, history(folder)?);
    let mut config = Config::read(&folder.file(folder::CONFIG))?;
    config.data = data.map(Path::to_path_buf).or(config.data);
    // It has been resolved by the run; that the machine lacks what it asked for is no hindrance to drawing.
    let isa = setup::isa(&config).unwrap_or_else(|_| kernels::Isa::detect());
    let setup = Setup::of_run(config, folder)?;
    let pool = setup::pool(&setup.config)?;
    let cpu = Cpu::new(isa, &pool);
    let health = health::read(&folder.file(folder::HEALTH))?;
    let material =
        Material { setup: &setup, summary: &summary, history: &history, health: &health };
    pool.enter(|| match setup.config.dtype {
        Dtype::F32 | Dtype::Bf16 => drawn::<f32>(folder, material, cpu),
        Dtype::F64 => drawn::<f64>(folder, material, cpu),
    })
}

fn drawn<T: Element>(
    folder: &RunFolder,
    material: Material<'_>,
    cpu: Cpu<'_>,
) -> Result<String, Error> {
    let Material { setup, summary, .. } = material;
    if summary.status != Status::Done || setup.dataset.has_values() {
        return html::<T>(material, cpu, None);
    }
    let (mut weights, _) = weights::read::<T>(&folder::model(folder)?, &setup.network)?;
    let all: Vec<u32> = (0..setup.dataset.test.dims()[0]).collect();
    let answers = Predictions::new(&setup.network, cpu, &mut weights, &setup.dataset.test, &all)?;
    html(material, cpu, Some((&mut weights, &answers)))
}

/// The page of several runs.
fn compared(folders: &[RunFolder]) -> Result<String, Error> {
    let read = |folder: &RunFolder| {
        let path = folder.file(folder::CONFIG);
        let config = Config::read(&path)?.to_toml()?;
        let config = config.parse::<toml::Table>();
        let config = config.map_err(|error| Error::malformed(&path, "a configuration", error))?;
        let (summary, history) = (folder::summary(folder)?, history(folder)?);
        let name = folder.path().display().to_string();
        Ok(Compared { name, summary, history, settings: settings(&config) })
    };
    let runs = folders.iter().map(read).collect::<Result<Vec<_>, Error>>()?;
    Ok(Page { title: "Runs side by side", body: &Comparison(&runs).to_string() }.to_string())
}

/// The epochs of the run in `folder`.
fn history(folder: &RunFolder) -> Result<Vec<Epoch>, Error> {
    let path = folder.file(folder::METRICS);
    let text = fs::read_to_string(&path).map_err(DataError::io("read", &path))?;
    let parse = |(at, line): (usize, &str)| {
        let expected = format!("the metrics of an epoch in line {}", at + 1);
        serde_json::from_str(line).map_err(|error| Error::malformed(&path, expected, error))
    };
    text.lines().enumerate().map(parse).collect()
}
