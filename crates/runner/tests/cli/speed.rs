//! `bench`: a table for people, and JSON.

use serde_json::Value;

use crate::world::{World, stderr, stdout};

#[test]
fn bench_prints_a_table_or_json() {
    let world = World::new();
    let output = world.expect(0, "bench --threads 1", &[]);
    assert_eq!(stderr(&output), "");
    let text = stdout(&output);
    for part in ["1 thread(s)", "bf16", "of peak", "forward, hidden layer", "square"] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }

    let json: Value =
        serde_json::from_str(&stdout(&world.expect(0, "bench --threads 2 --json", &[]))).unwrap();
    assert_eq!(json["threads"], 2);
    assert!(json["isa"].is_string() && json["bf16_instruction"].is_boolean(), "{json}");
    let products = json["products"].as_array().unwrap();
    assert_eq!(products.len() + 2, text.lines().count());
    for product in products {
        for key in ["m", "n", "k", "f32_gflops", "bf16_gflops", "peak_gflops", "f32_of_peak"] {
            assert!(product[key].as_f64().is_some_and(|value| value > 0.0), "{key} in {product}");
        }
    }
}

#[test]
fn an_instruction_set_can_be_forced() {
    let world = World::new();
    let output = stdout(&world.expect(0, "bench --threads 1 --isa scalar --json", &[]));
    let json: Value = serde_json::from_str(&output).unwrap();
    assert_eq!((&json["isa"], &json["bf16_instruction"]), (&"scalar".into(), &false.into()));
}

#[test]
fn a_run_says_that_bf16_is_emulated() {
    let world = World::new();
    let run = "train --data tiny --batch 32 --max-steps 1 --isa scalar --dtype";
    world.expect(0, &format!("{run} bf16 --out half"), &["bf16 is emulated: scalar"]);
    let single = world.expect(0, &format!("{run} f32 --out single"), &[]);
    assert!(!stderr(&single).contains("emulated"));
}
