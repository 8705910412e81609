//! `evenkeel diagnose`: what is wrong with a training, and which cure measurably works.
//!
//! ```text
//! a configuration      probe: data, some hundred steps            } record -> rules -> findings
//! a run                the files of its folder, and its data      }
//! a record             what another program measured              }
//! --cure               trials of the findings' cures; the winner as a difference, and --out
//! ```
//!
//! Writes nothing but the files of `--out`, `--html` and `--save-record`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use doctor::depth::Growth;
use doctor::progress::{Progress, State};
use doctor::record::Initial;
use doctor::{Finding, MeanField, Record, Settings, Severity, Verdict, judge};
use serde::Serialize;

use crate::Error;
use crate::commands::output::refuse_if;
use crate::commands::{dry_run, output};
use crate::data::replace::replace_with;
use crate::diagnosis::probe::Stage;
use crate::diagnosis::treatment::{Treatment, difference, treat};
use crate::diagnosis::trial::Trial;
use crate::diagnosis::{probe, record_file, run_record};
use crate::machine::terminal;
use crate::report::diagnosis::{DiagnosisPage, UNLIMITED};
use crate::run::config::Config;
use crate::run::folder::RunFolder;
use crate::run::setup::Setup;
use crate::run::{folder, setup, sizes};

/// Options of `diagnose`.
#[derive(Clone, Debug)]
pub struct Request {
    /// Subject of the diagnosis.
    pub subject: Subject,
    /// Try the cures.
    pub cure: bool,
    /// Time for the trials, in seconds.
    pub budget: f64,
    /// Names of rules, or severities, at whose findings the command fails.
    pub fail_on: Vec<String>,
    /// Names of rules that are not checked, besides those of the configuration.
    pub ignore: Vec<String>,
    /// File for the cured configuration.
    pub out: Option<PathBuf>,
    /// HTML file for the diagnosis.
    pub html: Option<PathBuf>,
    /// File for the record, which `--record` judges again.
    pub save_record: Option<PathBuf>,
    /// Replace these files.
    pub force: bool,
    /// Print JSON.
    pub json: bool,
}

/// Subject of a diagnosis.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A configuration, by a probe.
    Config(Box<Config>),
    /// A run, by the files of its folder.
    Run {
        /// The folder.
        folder: PathBuf,
        /// New path of its data.
        data: Option<PathBuf>,
    },
    /// A record of another program.
    Record(PathBuf),
}

impl Subject {
    /// Name for the title of the page.
    fn name(&self, config: Option<&Config>) -> String {
        match (self, config) {
            (Self::Run { folder, .. }, _) => folder.display().to_string(),
            (Self::Record(file), _) => file.display().to_string(),
            (Self::Config(_), config) => {
                config.map_or("a network", |config| config.preset.name()).into()
            }
        }
    }
}

/// Seconds since the start of the diagnosis.
struct Times {
    started: Instant,
    /// Until the data were loaded.
    loaded: f64,
    /// Until they were inspected.
    data: f64,
    /// Until the initial network was measured.
    preflight: f64,
    /// Until the verdict.
    verdict: f64,
}

impl Times {
    fn new() -> Self {
        let [loaded, data, preflight, verdict] = [0.0; 4];
        Self { started: Instant::now(), loaded, data, preflight, verdict }
    }

    fn now(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Notes the time of `stage`. The first verdict goes to stderr.
    fn observe(&mut self, stage: Stage, record: &Record, settings: &Settings) {
        match stage {
            Stage::Data => self.data = self.now(),
            Stage::Preflight => self.preflight = self.now(),
            Stage::FirstSteps => {
                let verdict = judge(record, settings);
                let seconds = self.now();
                let found = probe::first_findings(&verdict).next();
                let steps = record.steps.last().map_or(0, |step| step.step);
                terminal::say(&format!(
                    "first verdict after {seconds:.1} s and {steps} steps: {}",
                    found.map_or("nothing is wrong so far".into(), |found| format!(
                        "{}: {}",
                        found.severity, found.id
                    ))
                ));
            }
        }
    }
}

/// Measurements of the initial network.
#[derive(Serialize)]
struct Preflight {
    /// Loss, and that of predictions by chance.
    loss: Option<f64>,
    chance_loss: Option<f64>,
    /// Growth of the outputs' standard deviation per layer, forward.
    activations: Option<Growth>,
    /// Growth of the gradient over the weights per layer, backward.
    gradients: Option<Growth>,
    mean_field: Option<Theory>,
    /// Smallest and largest singular value of the Jacobian.
    jacobian: Option<[f64; 2]>,
    gradient_error: Option<f64>,
    overfit_ratio: Option<f64>,
}

/// Numbers of mean-field theory.
#[derive(Serialize)]
struct Theory {
    variance: f64,
    chi: f64,
    /// `null` at criticality, where it is infinite.
    depth_scale: Option<f64>,
    /// Layers up to which such a network trains; `null` if there is no limit.
    trainable_layers: Option<f64>,
    /// Plain layers with weights that it has.
    layers: usize,
}

impl Preflight {
    fn new(record: &Record, progress: &Progress) -> Self {
        let initial = record.initial.as_ref();
        let finite = |value: f64| Some(value).filter(|value| value.is_finite());
        let measured = |of: fn(&Initial) -> Option<f64>| initial.and_then(of).and_then(finite);
        let theory = |field: MeanField| Theory {
            variance: field.variance,
            chi: field.chi,
            depth_scale: finite(field.depth_scale).filter(|scale| *scale < UNLIMITED),
            trainable_layers: finite(field.trainable()).filter(|layers| *layers < UNLIMITED),
            layers: doctor::mean_field::plain_layers(&record.model),
        };
        Self {
            loss: measured(|initial| initial.loss),
            chance_loss: progress.chance_loss,
            activations: doctor::depth::activation_growth(record),
            gradients: doctor::depth::gradient_growth(record),
            mean_field: MeanField::of(record).map(theory),
            jacobian: measured(|initial| initial.jacobian_min)
                .zip(measured(|initial| initial.jacobian_max))
                .map(|(min, max)| [min, max]),
            gradient_error: measured(|initial| initial.gradient_error),
            overfit_ratio: measured(|initial| initial.overfit_ratio),
        }
    }

    /// Lines for people.
    fn lines(&self) -> Vec<String> {
        let per_layer = |growth: &Growth| {
            let Growth { ratio, low, high, layers } = growth;
            format!("{ratio:.3} per layer ({low:.3} to {high:.3}, {layers} layers)")
        };
        let mut lines = Vec::new();
        let mut line = |name: &str, text: Option<String>| {
            lines.extend(text.map(|text| format!("  {name:<14}{text}")));
        };
        let by_chance =
            self.chance_loss.map_or(String::new(), |loss| format!(", by chance {loss:.3}"));
        line("loss", self.loss.map(|loss| format!("{loss:.3}{by_chance}")));
        line("activations", self.activations.as_ref().map(per_layer));
        line("gradients", self.gradients.as_ref().map(per_layer));
        let theory = self.mean_field.as_ref().map(|theory| {
            let Theory { variance, chi, depth_scale, trainable_layers, layers } = theory;
            let reach = match depth_scale.zip(*trainable_layers) {
                Some((scale, trainable)) => format!(
                    "depth scale {scale:.1} layers: trainable up to about {trainable:.0}, {layers} \
                     asked for"
                ),
                None => "critical: any depth".into(),
            };
            format!("q {}, chi {chi:.3}, {reach}", number(*variance))
        });
        line("mean field", theory);
        let jacobian = self.jacobian;
        line(
            "Jacobian",
            jacobian
                .map(|[min, max]| format!("singular values {} to {}", number(min), number(max))),
        );
        let error = self.gradient_error;
        line("gradient", error.map(|error| format!("{error:.0e} from finite differences, in f64")));
        let ratio = self.overfit_ratio;
        line(
            "one batch",
            ratio.map(|ratio| format!("{:.0} % of the loss are left", 100.0 * ratio)),
        );
        lines
    }
}

/// Output of `diagnose --json`.
#[derive(Serialize)]
struct Output<'a> {
    /// `true` if no finding is a warning or critical.
    healthy: bool,
    findings: &'a [Finding],
    progress: Summary,
    preflight: Preflight,
    #[serde(skip_serializing_if = "Option::is_none")]
    trials: Option<&'a [Trial]>,
    /// Changes of the winning cures, and the verdict after them.
    #[serde(skip_serializing_if = "Option::is_none")]
    cured: Option<Cured<'a>>,
}

/// How the training goes.
#[derive(Serialize)]
struct Summary {
    state: State,
    steps: u64,
    accuracy: Option<f64>,
    reference_accuracy: Option<f64>,
    first_loss: Option<f64>,
    last_loss: Option<f64>,
    /// Examples per step, and the gradient's noise scale in examples: the critical batch.
    batch: u64,
    noise_scale: Option<f64>,
}

#[derive(Serialize)]
struct Cured<'a> {
    changes: Vec<&'a str>,
    difference: Vec<String>,
    healthy: bool,
    findings: &'a [Finding],
}

/// Diagnoses, and prints the findings.
///
/// # Errors
/// [`Error::Findings`] if a finding is one of `fail_on`; errors of the configuration, the run or
/// the record.
pub fn diagnose(request: &Request) -> Result<(), Error> {
    let Request { subject, cure, out, html, save_record, force, json, .. } = request;
    for file in [out, html, save_record].into_iter().flatten() {
        refuse_if(file.exists() && !force, file)?;
    }
    check_names(&request.fail_on)?;
    let mut times = Times::new();
    let (record, setup, settings) = examine(subject, &request.ignore, &mut times)?;
    if let Some(path) = save_record {
        record_file::write(path, &record)?;
    }
    let verdict = judge(&record, &settings);
    times.verdict = times.now();
    let treatment = match (&setup, cure) {
        (Some(setup), true) => {
            let deadline = Instant::now() + Duration::from_secs_f64(request.budget);
            Some(setup::on_threads(&setup.config, |cpu| {
                treat(setup, cpu, &record, &verdict, &settings, deadline)
            })?)
        }
        (None, true) => {
            return Err(Error::Usage(
                "cure: expected a configuration or a run, whose cures can be tried, got --record, \
                 whose cures are only named; leave out --cure"
                    .into(),
            ));
        }
        (_, false) => None,
    };
    let config = setup.as_ref().map(|setup| &setup.config);
    let cured = treatment.as_ref().and_then(|treatment| treatment.cured.as_ref());
    if let (Some(out), Some(cured)) = (out, cured) {
        replace_with(out, cured.to_toml()?.as_bytes())?;
    }
    if let Some(html) = html {
        let changed = config.zip(cured).map(|(config, cured)| difference(config, cured));
        let difference = changed.transpose()?.unwrap_or_default();
        let (record, verdict, treatment) = (&record, &verdict, treatment.as_ref());
        let subject = &subject.name(config);
        let page = DiagnosisPage { subject, record, verdict, treatment, difference: &difference };
        replace_with(html, page.to_string().as_bytes())?;
    }
    if *json {
        output::print(&json_text(&record, &verdict, config, treatment.as_ref())?)?;
    } else {
        output::print(&text(&record, &verdict, &times))?;
        if let (Some(treatment), Some(config)) = (&treatment, config) {
            output::print(&treatment_text(treatment, config)?)?;
        }
    }
    fail(&request.fail_on, &verdict)
}

/// Record of `subject`, its setup if it has one, and the settings of the doctor.
fn examine(
    subject: &Subject,
    ignore: &[String],
    times: &mut Times,
) -> Result<(Record, Option<Setup>, Settings), Error> {
    let settings = |config: Option<&Config>| -> Result<Settings, Error> {
        let mut settings = config.map(|config| config.doctor.clone()).unwrap_or_default();
        settings.ignore.extend(ignore.iter().cloned());
        settings.check().map_err(|error| {
            Error::Usage(format!("doctor: {error} (flag --ignore or key `doctor`)"))
        })?;
        Ok(settings)
    };
    match subject {
        Subject::Config(config) => {
            let settings = settings(Some(config))?;
            let setup = Setup::new((**config).clone())?;
            sizes::check_batches(&setup)?;
            dry_run::check_memory(&setup)?;
            times.loaded = times.now();
            let mut observe = |stage, record: &Record| times.observe(stage, record, &settings);
            let record =
                setup::on_threads(&setup.config, |cpu| probe::probe(&setup, cpu, &mut observe))?;
            Ok((record, Some(setup), settings))
        }
        Subject::Run { folder, data } => {
            let folder = RunFolder::open(folder)?;
            let mut config = Config::read(&folder.file(folder::CONFIG))?;
            if data.is_some() {
                config.data.clone_from(data);
            }
            let settings = settings(Some(&config))?;
            let setup = Setup::of_run(config, &folder)?;
            let record =
                setup::on_threads(&setup.config, |cpu| run_record::read(&setup, &folder, cpu))?;
            Ok((record, Some(setup), settings))
        }
        Subject::Record(path) => Ok((record_file::read(path)?, None, settings(None)?)),
    }
}

/// Severities that `--fail-on` takes in place of names of rules.
const SEVERITIES: [Severity; 3] = [Severity::Info, Severity::Warning, Severity::Critical];

/// Checks that every name is that of a rule or a severity.
pub(crate) fn check_names(names: &[String]) -> Result<(), Error> {
    let is_known = |name: &String| {
        doctor::Rule::find(name).is_some() || SEVERITIES.iter().any(|s| s.name() == name)
    };
    match names.iter().find(|name| !is_known(name)) {
        Some(name) => Err(Error::Usage(format!(
            "fail-on: expected the name of a rule (see `evenkeel explain`), warning or critical, \
             got {name}"
        ))),
        None => Ok(()),
    }
}

/// `true` if `finding`, or a symptom of it, is among `names`, or as severe as one of them.
pub(crate) fn is_named(names: &[String], finding: &Finding) -> bool {
    let of_severity =
        |name: &String| SEVERITIES.iter().any(|s| s.name() == name && finding.severity >= *s);
    let named = |id: &String| names.contains(id);
    named(&finding.id) || finding.symptoms.iter().any(named) || names.iter().any(of_severity)
}

/// Fails if a finding is among `names`.
fn fail(names: &[String], verdict: &Verdict) -> Result<(), Error> {
    let found = verdict.findings.iter().filter(|finding| is_named(names, finding));
    let found: Vec<_> = found.map(|finding| finding.id.clone()).collect();
    if found.is_empty() { Ok(()) } else { Err(Error::Findings { names: found.join(", ") }) }
}

fn summary(record: &Record, progress: &Progress) -> Summary {
    Summary {
        state: progress.state,
        steps: record.steps.last().map_or(0, |step| step.step),
        accuracy: progress.accuracy,
        reference_accuracy: progress.reference_accuracy,
        first_loss: progress.first_loss.filter(|loss| loss.is_finite()),
        last_loss: progress.last_loss.filter(|loss| loss.is_finite()),
        batch: record.model.batch,
        noise_scale: doctor::noise_scale(record),
    }
}

fn json_text(
    record: &Record,
    verdict: &Verdict,
    config: Option<&Config>,
    treatment: Option<&Treatment>,
) -> Result<String, Error> {
    let cured = match (treatment, config) {
        (Some(Treatment { cured: Some(cured), cures, after, .. }), Some(config)) => Some(Cured {
            changes: cures.iter().map(|form| &form.change[..]).collect(),
            difference: difference(config, cured)?,
            healthy: after.as_ref().is_some_and(|(_, verdict)| verdict.is_healthy()),
            findings: after.as_ref().map_or(&[], |(_, verdict)| &verdict.findings),
        }),
        _ => None,
    };
    let output = Output {
        healthy: verdict.is_healthy(),
        findings: &verdict.findings,
        progress: summary(record, &verdict.progress),
        preflight: Preflight::new(record, &verdict.progress),
        trials: treatment.map(|treatment| &treatment.trials[..]),
        cured,
    };
    serde_json::to_string_pretty(&output)
        .map_err(|error| Error::Usage(format!("diagnosis: {error}")))
}

/// Findings as text for people.
fn text(record: &Record, verdict: &Verdict, times: &Times) -> String {
    let Summary { state, steps, accuracy, reference_accuracy, batch, noise_scale, .. } =
        summary(record, &verdict.progress);
    let percent = |accuracy: f64| format!("{:.1} %", 100.0 * accuracy);
    let mut text = String::from(match verdict.is_healthy() {
        true => "healthy",
        false => "unhealthy",
    });
    text += &format!(": {steps} steps, the training {state}");
    if let Some(accuracy) = accuracy {
        text += &format!(", validation accuracy {}", percent(accuracy));
    }
    if let Some(accuracy) = reference_accuracy {
        text += &format!(" (a linear model: {})", percent(accuracy));
    }
    text += &format!(", verdict after {:.1} s", times.verdict);
    if let Some(scale) = noise_scale {
        text += &format!(
            "\ngradient noise scale about {} examples (critical batch; {batch} in a batch)",
            number(scale.round())
        );
    }
    let lines = Preflight::new(record, &verdict.progress).lines();
    if !lines.is_empty() {
        text += "\n\nbefore the first step";
        if times.preflight > 0.0 {
            text += &format!(
                " (data {:.2} s, network {:.2} s)",
                times.data - times.loaded,
                times.preflight - times.data
            );
        }
        text += &format!(":\n{}", lines.join("\n"));
    }
    for finding in &verdict.findings {
        text += &format!("\n\n{}: {}\n  {}", finding.severity, finding.id, finding.message);
        for evidence in &finding.evidence {
            text += &format!("\n  {}: {}", evidence.quantity, number(evidence.value));
            if let Some(threshold) = evidence.threshold {
                text += &format!(" (threshold {})", number(threshold));
            }
        }
        if !finding.symptoms.is_empty() {
            text += &format!("\n  symptoms: {}", finding.symptoms.join(", "));
        }
        if finding.severity > Severity::Info {
            let cures = finding.cures.iter().map(|cure| cure.text());
            text += &format!("\n  cures: {}", cures.collect::<Vec<_>>().join("; "));
            text += &format!("\n  more: evenkeel explain {}", finding.id);
        }
    }
    text
}

/// `value` with four significant digits.
fn number(value: f64) -> String {
    match value.abs() {
        magnitude if magnitude != 0.0 && !(1e-3..1e5).contains(&magnitude) => {
            format!("{value:.2e}")
        }
        _ => {
            let text = format!("{value:.4}");
            text.trim_end_matches('0').trim_end_matches('.').into()
        }
    }
}

/// Trials and cure as text for people.
fn treatment_text(treatment: &Treatment, config: &Config) -> Result<String, Error> {
    let Treatment { trials, cures, cured, after, out_of_time, data_at_fault } = treatment;
    if *data_at_fault {
        return Ok("\nThe data are at fault: no change of the configuration helps, and none was \
                   tried."
            .into());
    }
    if trials.is_empty() {
        return Ok("\nNothing was tried, and nothing is changed.".into());
    }
    let mut text =
        String::from("\ntrials (quality: validation accuracy, or explained variance):\n");
    text += &format!("  {:>10}  {:>4}  {:>8}  change", "examples", "seed", "quality");
    for Trial { change, seed, examples, quality, .. } in trials {
        let quality = match quality.is_nan() {
            true => "diverged".into(),
            false => format!("{quality:.4}"),
        };
        text += &format!("\n  {examples:>10}  {seed:>4}  {quality:>8}  {change}");
    }
    if *out_of_time {
        text += "\nThere was no time for all forms, rounds or seeds (--budget).";
    }
    let Some(cured) = cured else {
        return Ok(text + "\n\nNo cure is better than the unchanged configuration.");
    };
    let changes: Vec<_> = cures.iter().map(|form| &form.change[..]).collect();
    text += &format!("\n\ncured by: {}", changes.join("; then "));
    if let Some((record, verdict)) = after {
        let Summary { state, accuracy, .. } = summary(record, &verdict.progress);
        text += &format!("\nafterwards the training {state}");
        if let Some(accuracy) = accuracy {
            text += &format!(", validation accuracy {:.1} %", 100.0 * accuracy);
        }
        let names: Vec<_> = verdict.findings.iter().map(|finding| &finding.id[..]).collect();
        if !verdict.is_healthy() {
            text += &format!("; still found: {}", names.join(", "));
        }
    }
    for line in difference(config, cured)? {
        text += &format!("\n{line}");
    }
    Ok(text)
}
