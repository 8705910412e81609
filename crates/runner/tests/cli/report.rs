//! `report`: a page without errors in a browser, wide or narrow, light or dark, re-rendered from
//! the run folder.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::world::{World, stderr, stdout};

const SHORT: &str = "train --data tiny --epochs 2 --batch 64 --lr 1e-4 --quiet";

/// Script that replaces a page's body by measurements of the page, as JSON.
const PROBE: &str = "<script>addEventListener('load',()=>{\
const images=[...document.images];\
const isEmpty=s=>{const b=s.getBoundingClientRect();\
return s.checkVisibility()&&!(b.width>0&&b.height>0)};\
document.body.innerHTML='BEGIN'+JSON.stringify({\
ids:[...document.querySelectorAll('[id]')].map(e=>e.id),\
images:images.length,\
broken:images.filter(i=>!i.complete||i.naturalWidth==0).length,\
empty:[...document.querySelectorAll('svg')].filter(isEmpty).length,\
charts:document.querySelectorAll('.curve').length,\
width:document.documentElement.scrollWidth-innerWidth,\
dark:getComputedStyle(document.body).backgroundColor!='rgb(255, 255, 255)',\
loaded:performance.getEntriesByType('resource').filter(r=>!r.name.startsWith('data:')).length\
})+'END';});</script>";

/// Name of an installed browser. Panics if there is none and `EVENKEEL_REQUIRE_ALL` is 1.
fn browser() -> Option<&'static str> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = names.into_iter().find(|name| Command::new(name).arg("--version").output().is_ok());
    let required = std::env::var_os("EVENKEEL_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(found.is_some() || !required, "EVENKEEL_REQUIRE_ALL is 1, and there is no chromium");
    if found.is_none() {
        println!("skipped: chromium is not installed");
    }
    found
}

/// Opens `page` in a window of this width. Returns the measurements of [`PROBE`], and the messages
/// of the browser's console.
fn open(world: &World, browser: &str, page: &str, width: u32, dark: bool) -> (Value, String) {
    let probed = world.path("probed.html");
    fs::write(&probed, page.replace("</body>", &format!("{PROBE}</body>"))).unwrap();
    // 0 is dark, 1 is light.
    let theme = format!("--blink-settings=preferredColorScheme={}", u32::from(!dark));
    let output = Command::new(browser)
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            "--dump-dom",
        ])
        .args([&theme, &format!("--window-size={width},900"), "--virtual-time-budget=5000"])
        .arg(format!("--user-data-dir={}", world.path("browser").display()))
        .arg(format!("file://{}", probed.display()))
        .output()
        .unwrap();
    let dom = stdout(&output);
    let json = dom.split_once("BEGIN").and_then(|(_, rest)| rest.split_once("END"));
    let (json, _) = json.unwrap_or_else(|| panic!("no JSON in {dom}: {}", stderr(&output)));
    let log = stderr(&output);
    let console: Vec<_> = log.lines().filter(|line| line.contains("CONSOLE")).collect();
    (serde_json::from_str(json).unwrap(), console.join("\n"))
}

#[test]
fn a_browser_shows_every_figure_without_errors() {
    let Some(browser) = browser() else { return };
    let world = World::new();
    world.expect(0, &format!("{SHORT} --out run"), &[]);
    let page = world.read("run/report.html");
    for (width, dark) in [(1200, false), (360, true)] {
        let (probed, console) = open(&world, browser, &page, width, dark);
        assert_eq!(console, "");
        for id in [
            "curves",
            "heat",
            "histograms",
            "units",
            "confusion",
            "classes",
            "digits",
            "maps",
            "environment",
        ] {
            assert!(probed["ids"].as_array().unwrap().contains(&id.into()), "no {id}: {probed}");
        }
        assert!(
            probed["images"].as_u64() > Some(24) && probed["charts"].as_u64() > Some(6),
            "{probed}"
        );
        assert_eq!(
            (&probed["broken"], &probed["empty"], &probed["loaded"]),
            (&0.into(), &0.into(), &0.into())
        );
        assert!(probed["width"].as_i64() <= Some(0), "wider than {width}: {probed}");
        assert_eq!(probed["dark"], dark);
    }
    // The probe detects a broken path and a broken image.
    let broken = page.replace("d=\"M", "d=\"Q").replacen("base64,iVBOR", "base64,AAAA", 1);
    let (probed, console) = open(&world, browser, &broken, 1200, false);
    assert!(console.contains("attribute d"), "{console}");
    assert_eq!(probed["broken"], 1);

    world.expect(0, &format!("{SHORT} --seed 1 --optimizer sgd --out other"), &[]);
    world.expect(0, "report run other --out both.html", &[]);
    let (probed, console) = open(&world, browser, &world.read("both.html"), 360, true);
    assert_eq!(console, "");
    assert!(probed["width"].as_i64() <= Some(0) && probed["charts"] == 8, "{probed}");
}

#[test]
fn the_report_is_re_rendered_from_the_folder() {
    let world = World::new();
    world.expect(0, &format!("{SHORT} --out run"), &[]);
    let page = world.read("run/report.html");
    assert!(page.len() < 2_000_000);
    fs::remove_file(world.path("run/report.html")).unwrap();
    assert_eq!(stdout(&world.expect(0, "report run", &[])).trim(), "run/report.html");
    assert_eq!(world.read("run/report.html"), page);
    // Another file is replaced only with --force.
    world.write("mine.html", "mine");
    world.expect(2, "report run --out mine.html", &["mine.html", "--force"]);
    assert_eq!(world.read("mine.html"), "mine");
    world.expect(0, "report run --out mine.html --force", &[]);
    assert_eq!(world.read("mine.html"), page);
    // A damaged health.jsonl is refused, a missing one leaves its section out.
    fs::write(world.path("run/health.jsonl"), "{\"epoch\":1}\n").unwrap();
    world.expect(3, "report run", &["health.jsonl", "line 1"]);
    fs::remove_file(world.path("run/health.jsonl")).unwrap();
    world.expect(0, "report run", &[]);
    assert!(!world.read("run/report.html").contains("id=\"heat\""));
    fs::remove_file(world.path("run/summary.json")).unwrap();
    world.expect(2, "report run", &["no summary.json", "the metrics of 2 epochs and a checkpoint"]);
    world.expect(2, "report tiny", &["tiny", "config.toml"]);
    world.expect(2, "report", &["RUN"]);
}

#[test]
fn a_comparison_has_the_differences_of_runs() {
    let world = World::new();
    world.expect(0, &format!("{SHORT} --out a"), &[]);
    world.expect(0, &format!("{SHORT} --optimizer sgd --seed 3 --out b"), &[]);
    world.expect(0, "report a b", &[]);
    let page = world.read("comparison.html");
    for text in [
        "optimizer.kind",
        "<code>adam</code>",
        "<code>sgd</code>",
        "<td>seed</td>",
        "Validation loss",
    ] {
        assert!(page.contains(text), "no `{text}`");
    }
    assert!(!page.contains("<td>epochs</td>"), "both runs have two epochs");
    world.expect(2, "report a b", &["comparison.html", "--force"]);
    world.expect(2, "report a absent", &["absent", "config.toml"]);
}

#[test]
fn health_is_recorded_for_each_tensor() {
    let world = World::new();
    // 18 steps per epoch, of which eight are sampled.
    world.expect(0, "train --data tiny --epochs 2 --batch 16 --out run --quiet", &[]);
    let lines: Vec<Value> = world
        .read("run/health.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    for (epoch, line) in (1..).zip(&lines) {
        assert_eq!((&line["epoch"], line["steps"].as_array().unwrap().len()), (&epoch.into(), 8));
        let names: Vec<_> =
            line["tensors"].as_array().unwrap().iter().map(|tensor| &tensor["name"]).collect();
        assert_eq!(names, ["layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.2.bias"]);
        for tensor in line["tensors"].as_array().unwrap() {
            for key in ["grad_norms", "param_norms", "update_ratios"] {
                assert_eq!(tensor[key].as_array().unwrap().len(), 8, "{key} of {tensor}");
            }
            let magnitudes = &tensor["magnitudes"];
            let counted: u64 = magnitudes["counts"]
                .as_array()
                .unwrap()
                .iter()
                .map(|count| count.as_u64().unwrap())
                .sum();
            let rest: u64 = ["zero", "below", "above", "non_finite"]
                .map(|key| magnitudes[key].as_u64().unwrap())
                .iter()
                .sum();
            assert_eq!(counted + rest, 8 * tensor["elements"].as_u64().unwrap());
        }
    }
    assert_eq!(lines[1]["steps"][0], 19);
    let activity = &lines[1]["activity"];
    assert_eq!((&activity[0]["kind"], &activity[0]["units"]), (&"relu".into(), &512.into()));
    assert!(
        activity[0]["zero_fraction"].as_f64() > Some(0.0) && activity[1].is_null(),
        "{activity}"
    );
    assert_eq!(lines[0]["tensors"][1]["update_ratios"][0], "Infinity", "biases start at 0");

    // The last record of a diverged run has its non-finite gradient.
    world.expect(
        5,
        "train --data tiny --optimizer sgd --lr 1e38 --epochs 2 --batch 64 --out bad --quiet",
        &[],
    );
    let bad: Value =
        serde_json::from_str(world.read("bad/health.jsonl").lines().last().unwrap()).unwrap();
    let tensors = bad["tensors"].as_array().unwrap();
    assert!(
        tensors.iter().any(|tensor| tensor["magnitudes"]["non_finite"].as_u64() > Some(0)),
        "{bad}"
    );
    let before = world.read("bad/health.jsonl");
    world.expect(5, "train --resume bad --quiet", &[]);
    assert_eq!(world.read("bad/health.jsonl"), before);
}
