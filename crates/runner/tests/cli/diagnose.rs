//! `diagnose`, `explain`, `replay` and `train --watch`: verdicts, cures, exit codes, errors.

use std::fs;

use serde_json::Value;

use crate::tables::json;
use crate::world::{World, stderr, stdout};

/// Configuration of a small network on a generated table of three classes.
fn network(world: &World, name: &str, changes: &str, layers: &str) {
    let text = format!(
        "dataset = \"classification\"\nepochs = 4\nbatch = 64\nlr = 0.003\n\
         optimizer = {{ kind = \"adam\" }}\nschedule = {{ kind = \"constant\" }}\n{changes}\n\
         layers = [{layers}]\n\
         [classification]\nsamples = 6000\nfeatures = 12\ninformative = 8\nclasses = 3\n\
         separation = 2.0\n"
    );
    world.write(name, &text);
}

const HEALTHY: &str = "{ kind = \"standardise\" }, { kind = \"dense\", units = 32 }, \
                       { kind = \"relu\" }, { kind = \"dense\", units = 3 }";

const ZEROS: &str = "{ kind = \"standardise\" }, \
                     { kind = \"dense\", units = 32, init = \"zeros\" }, { kind = \"relu\" }, \
                     { kind = \"dense\", units = 3, init = \"zeros\" }";

fn diagnosis(world: &World, code: i32, command: &str) -> Value {
    json(&stdout(&world.expect(code, &format!("{command} --json"), &[])))
}

#[test]
fn a_healthy_network_has_no_severe_finding_and_nothing_is_changed() {
    let world = World::new();
    network(&world, "net.toml", "", HEALTHY);
    let found = diagnosis(&world, 0, "diagnose --config net.toml --fail-on warning");
    assert_eq!(found["healthy"], true, "{found}");
    assert_eq!(found["progress"]["state"], "well");
    let cured = diagnosis(&world, 0, "diagnose --config net.toml --cure --out cured.toml");
    assert_eq!((&cured["trials"], cured.get("cured")), (&json("[]"), None));
    assert!(!world.path("cured.toml").exists());
}

#[test]
fn the_preflight_shows_what_the_initial_network_is_like() {
    let world = World::new();
    let deep = |init: &str, activation: &str| {
        let hidden = format!(
            "{{ kind = \"dense\", units = 24, init = \"{init}\" }}, {{ kind = \"{activation}\" }}, "
        );
        format!(
            "{{ kind = \"standardise\" }}, {}{{ kind = \"dense\", units = 3 }}",
            hidden.repeat(5)
        )
    };
    network(&world, "good.toml", "", &deep("he_normal", "relu"));
    network(&world, "bad.toml", "", &deep("glorot_normal", "sigmoid"));
    let preflight = |name: &str| {
        let found = diagnosis(&world, 0, &format!("diagnose --config {name}"));
        found["preflight"].clone()
    };
    let number = |of: &Value, path: &str| of.pointer(path).and_then(Value::as_f64).unwrap();
    let (good, bad) = (preflight("good.toml"), preflight("bad.toml"));
    for found in [&good, &bad] {
        assert!(number(found, "/gradient_error") < 1e-6, "{found}");
        assert!((number(found, "/chance_loss") - libm::log(3.0)).abs() < 1e-3, "{found}");
        assert_eq!(number(found, "/mean_field/layers"), 6.0);
    }
    // He's weights keep the signal; sigmoids of Glorot's pass a sixteenth of the squared gradient.
    assert!((number(&good, "/mean_field/chi") - 1.0).abs() < 0.3, "{good}");
    assert!(number(&good, "/jacobian/0") > 1e-2, "{good}");
    assert!(number(&good, "/overfit_ratio") <= 0.1, "{good}");
    assert!((number(&bad, "/mean_field/chi") - 1.0 / 16.0).abs() < 0.03, "{bad}");
    assert!(number(&bad, "/mean_field/trainable_layers") < 6.0, "{bad}");
    assert!(number(&bad, "/jacobian/1") < 1e-2, "{bad}");
    let ratio = number(&bad, "/gradients/ratio");
    assert!(ratio < 0.5 && number(&bad, "/gradients/high") > ratio, "{bad}");
    let output = world.expect(0, "diagnose --config good.toml", &[]);
    let text = stdout(&output);
    for part in ["before the first step (data ", "mean field", "Jacobian", "one batch"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(stderr(&output).contains("first verdict after "), "{}", stderr(&output));
}

#[test]
fn the_suite_scores_the_doctor_and_a_random_search() {
    let world = World::new();
    let suite = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/doctor");
    let score = |only: &str, flags: &str| {
        let command = format!("diagnose --suite {suite} --only {only} --json {flags}");
        json(&stdout(&world.expect(0, &command, &[])))
    };
    // The cases of one family: small tables.
    let found = score("regression-", "");
    let half = &found["figures"][1];
    let count = |key: &str| half[key].as_u64().unwrap();
    assert!(count("faulty") > 5 && count("healthy") > 3, "{half}");
    for (part, of) in [("detected", "faulty"), ("named", "faulty"), ("located", "with_layer")] {
        assert_eq!(count(part), count(of), "{part}: {found}");
    }
    assert_eq!(count("false_alarms"), 0, "{found}");
    // Enough time for one random trial at least; whether it repairs anything is chance.
    let found = score("regression-zero-init", "--cure --budget 60");
    let case = &found["cases"][0];
    assert_eq!(case["repaired"], true, "{case}");
    assert!(case["random_trials"].as_u64().unwrap() > 0, "{case}");
    assert!(case["repaired_at_random"].is_boolean(), "{case}");
}

#[test]
fn a_fault_is_named_and_its_cure_is_a_configuration_that_works() {
    let world = World::new();
    network(&world, "zeros.toml", "", ZEROS);
    let fail_on = "diagnose --config zeros.toml --fail-on zero-initialisation";
    let found = diagnosis(&world, 4, fail_on);
    assert_eq!(found["healthy"], false);
    assert_eq!(found["findings"][0]["id"], "zero-initialisation", "{found}");
    assert_eq!(found["findings"][0]["severity"], "critical");
    let command = "diagnose --config zeros.toml --cure --out cured.toml --html page.html";
    let cured = diagnosis(&world, 0, command);
    assert_eq!(cured["cured"]["healthy"], true, "{cured}");
    let difference = cured["cured"]["difference"].to_string();
    assert!(difference.contains("- layers") && difference.contains("+ layers"), "{difference}");
    let again = diagnosis(&world, 0, "diagnose --config cured.toml");
    assert_eq!(again["healthy"], true, "{again}");
    let page = fs::read_to_string(world.path("page.html")).unwrap();
    assert!(page.contains("zero-initialisation") && page.contains("<svg"));
    // Files are kept unless they are to be replaced.
    world.expect(2, command, &["cured.toml", "--force"]);
}

#[test]
fn two_diagnoses_and_their_trials_are_the_same_on_every_number_of_threads() {
    let world = World::new();
    network(&world, "one.toml", "threads = 1\nisa = \"scalar\"", ZEROS);
    network(&world, "three.toml", "threads = 3", ZEROS);
    let of = |name: &str| diagnosis(&world, 0, &format!("diagnose --config {name} --cure"));
    let (one, three) = (of("one.toml"), of("three.toml"));
    assert_eq!(one["findings"], three["findings"]);
    assert_eq!(one["trials"], three["trials"]);
}

#[test]
fn rules_are_ignored_and_set_by_flags_and_keys() {
    let world = World::new();
    network(&world, "rate.toml", "doctor = { ignore = [\"learning-rate-too-low\"] }", HEALTHY);
    let low = fs::read_to_string(world.path("rate.toml")).unwrap().replace("0.003", "1e-8");
    world.write("rate.toml", &low);
    let ids = |found: &Value| found["findings"].to_string();
    let ignored = diagnosis(&world, 0, "diagnose --config rate.toml");
    assert!(!ids(&ignored).contains("\"id\":\"learning-rate-too-low\""), "{ignored}");
    world.write("rate.toml", &low.replace("doctor = { ignore = [\"learning-rate-too-low\"] }", ""));
    let found = diagnosis(&world, 0, "diagnose --config rate.toml");
    assert_eq!(found["findings"][0]["id"], "learning-rate-too-low", "{found}");
    world.write("rate.toml", &low.replace("learning-rate-too-low", "rate-to-low"));
    world.expect(2, "diagnose --config rate.toml", &["rate-to-low", "key `doctor`"]);
    world.expect(2, "diagnose --ignore all", &["name of a rule", "all"]);
    world.expect(2, "diagnose --fail-on bad", &["fail-on", "bad"]);
    world.expect(2, "diagnose --cure --budget -1", &["budget"]);
}

#[test]
fn explain_lists_the_rules_and_suggests_names() {
    let world = World::new();
    let list = stdout(&world.expect(0, "explain", &[]));
    let names: Vec<&str> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.len() > 40 && names.contains(&"dead-relu"), "{list}");
    for name in names {
        let text = stdout(&world.expect(0, &format!("explain {name}"), &[]));
        assert!(text.starts_with(&format!("# {name}\n")) && text.contains("## Measurement"));
    }
    world.expect(2, "explain dead-rellu", &["dead-rellu", "did you mean dead-relu?"]);
}

#[test]
fn a_run_with_dead_units_says_so_in_its_report_and_its_diagnosis() {
    let world = World::new();
    network(&world, "rate.toml", "", HEALTHY);
    let text = fs::read_to_string(world.path("rate.toml")).unwrap();
    let text = text.replace("\"adam\"", "\"sgd\"").replace("lr = 0.003", "lr = 2.0");
    world.write("rate.toml", &text);
    world.expect(0, "train --config rate.toml --out run --quiet", &[]);
    let report = fs::read_to_string(world.path("run/report.html")).unwrap();
    assert!(report.contains("<p class=\"notice\"><b>"), "no finding opens the report");
    assert!(report.contains("evenkeel diagnose run --cure"));
    let found = diagnosis(&world, 4, "diagnose run --fail-on warning,critical");
    assert_eq!(found["healthy"], false);
    world.expect(2, "diagnose run --config rate.toml", &["cannot be used with"]);
}

#[test]
fn a_watched_run_ends_at_a_finding_and_can_be_resumed() {
    let world = World::new();
    network(&world, "zeros.toml", "", ZEROS);
    let watched = "train --config zeros.toml --out run --watch --fail-on critical";
    let output = world.expect(4, watched, &["zero-initialisation", "--fail-on"]);
    assert!(stderr(&output).contains("critical: zero-initialisation"));
    let findings = fs::read_to_string(world.path("run/findings.jsonl")).unwrap();
    assert_eq!(json(findings.lines().next().unwrap())["id"], "zero-initialisation");
    assert_eq!(world.summary("run")["status"], "interrupted");
    world.expect(0, "train --resume run --quiet", &[]);
    // A watch changes no bit.
    world.expect(0, "train --config zeros.toml --out plain --quiet", &[]);
    assert_eq!(world.summary("run")["params_sha256"], world.summary("plain")["params_sha256"]);
    world.expect(2, "train --fail-on critical", &["--watch"]);
}

#[test]
fn a_step_is_repeated_to_the_bit() {
    let world = World::new();
    network(&world, "net.toml", "", HEALTHY);
    world.expect(0, "train --config net.toml --out run --quiet", &[]);
    let command = "replay run --step 7 --out step.safetensors";
    let step = json(&stdout(&world.expect(0, &format!("{command} --json"), &[])));
    assert_eq!((&step["step"]["step"], &step["dtype"]), (&Value::from(7), &Value::from("f32")));
    assert_eq!(step["examples"].as_array().map(Vec::len), Some(64));
    let wide = json(&stdout(&world.expect(0, "replay run --step 7 --dtype f64 --json", &[])));
    let loss = |step: &Value| step["step"]["loss"].as_f64().unwrap();
    let difference = (loss(&step) - loss(&wide)).abs();
    assert!(difference > 0.0 && difference < 1e-5, "{step} {wide}");
    // Norms of gradient, parameters and update, with the optimizer's moments, are those that the
    // run recorded.
    let recorded = json(world.read("run/health.jsonl").lines().next().unwrap());
    let (index, number) = (3, &recorded["steps"][3]);
    let command_of = format!("replay run --step {number} --json");
    let sampled = json(&stdout(&world.expect(0, &command_of, &[])));
    let tensors = recorded["tensors"].as_array().unwrap();
    for (tensor, replayed) in tensors.iter().zip(sampled["tensors"].as_array().unwrap()) {
        assert_eq!(tensor["name"], replayed["name"]);
        assert_eq!(tensor["grad_norms"][index], replayed["grad_norm"], "{replayed}");
        assert_eq!(tensor["param_norms"][index], replayed["param_norm"], "{replayed}");
        let norm = |key: &str| replayed[key].as_f64().unwrap();
        let ratio = norm("update_norm") / norm("param_norm");
        let expected = tensor["update_ratios"][index].as_f64().unwrap();
        assert_eq!(ratio.to_bits(), expected.to_bits(), "{replayed}");
    }
    // A run that ends at that step has a checkpoint before it, and the same step after it.
    let stopped = "train --config net.toml --out stopped --max-steps 6 --quiet";
    world.expect(0, stopped, &[]);
    let same = json(&stdout(&world.expect(0, "replay stopped --step 7 --json", &[])));
    assert_eq!(same, step);
    world.expect(2, command, &["step.safetensors", "--force"]);
    world.expect(2, "replay run --step 100000", &["step: expected 1 to"]);
    world.expect(2, "replay run --step 0", &["step: expected 1 to"]);
}

#[test]
fn data_at_fault_are_named_and_no_configuration_is_sold() {
    let world = World::new();
    let mut table = String::from("a,b,c,kind\n");
    let mut state = 1_u64;
    for _ in 0..3000 {
        let mut draw = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1_u32 << 31)
        };
        let row = [draw(), draw(), draw()].map(|x| format!("{x:.6}")).join(",");
        table.push_str(&format!("{row},{}\n", if draw() < 0.5 { "yes" } else { "no" }));
    }
    world.write("coin.csv", &table);
    let command = "diagnose --data coin.csv --label kind --cure";
    let found = diagnosis(&world, 0, command);
    assert_eq!(found["findings"][0]["id"], "random-labels", "{found}");
    assert_eq!((&found["trials"], found.get("cured")), (&json("[]"), None));
    world.expect(0, command, &[]);
}

#[test]
fn the_documentation_has_the_text_of_every_rule() {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/DOCTOR.md");
    if !docs.is_file() {
        println!("skipped: no docs here, as in a published package");
        return;
    }
    let documented = fs::read_to_string(docs).unwrap();
    let (_, rules) = documented.split_once("\n## Rules\n\n").unwrap();
    let printed = stdout(&World::new().expect(0, "explain --all", &[]));
    let remedy = "evenkeel explain --all, below the heading Rules of docs/DOCTOR.md";
    assert!(rules.trim_end() == printed.trim_end(), "out of date: {remedy}");
}
