//! `lr-find`: suggests a learning rate that trains.

use serde_json::Value;

use crate::world::{World, stdout};

#[test]
fn the_suggested_learning_rate_trains() {
    let world = World::new();
    let find = "lr-find --data tiny --preset logistic --optimizer sgd --batch 16 --steps 100";
    let found: Value =
        serde_json::from_str(&stdout(&world.expect(0, &format!("{find} --json"), &[]))).unwrap();
    let points = found["points"].as_array().unwrap();
    let rates: Vec<_> = points.iter().map(|point| point["rate"].as_f64().unwrap()).collect();
    assert!((rates[0] - 1e-6).abs() < 1e-18 && rates.is_sorted(), "{rates:?}");
    // 100 rates from 1e-6 to 10, evenly spaced over their logarithm.
    assert!(
        (rates[99] / 10.0 - 1.0).abs() < 1e-12
            && (rates[1] / rates[0] - rates[51] / rates[50]).abs() < 1e-9
    );
    let suggestion = found["suggestion"].as_f64().unwrap();
    assert!((1e-3..1.0).contains(&suggestion), "{suggestion}");
    assert_eq!(found["suggestion"], found["steepest"]);
    let trained = format!(
        "train --data tiny --preset logistic --optimizer sgd --batch 16 --lr {suggestion} --quiet"
    );
    world.expect(0, &format!("{trained} --min-accuracy 0.9 --out run"), &[]);

    let text = stdout(&world.expect(0, &format!("{find} --out plot.html"), &[]));
    assert!(text.starts_with("suggested --lr 0."), "{text}");
    let page = world.read("plot.html");
    for part in ["<svg", "suggested: ", "learning rate", "10⁻⁴"] {
        assert!(page.contains(part), "no `{part}`");
    }
    world.expect(2, &format!("{find} --out plot.html"), &["plot.html", "--force"]);
    assert!(!world.path("runs").exists());
}

#[test]
fn no_rate_is_suggested_if_nothing_can_be_learned() {
    let world = World::new();
    // Black images and no bias: outputs and gradients are 0, whatever the weights are.
    let labels = (0..40).map(|index| index % 2).collect();
    let black = runner::data::Labelled::new(vec![0; 40 * 4], labels, 2, 2).unwrap();
    runner::data::folder::write(&world.path("black"), &black, &black).unwrap();
    world.write("flat.toml", "layers = [{ kind = \"dense\", units = 2, bias = false }]\n");
    let text = stdout(&world.expect(0, "lr-find --config flat.toml --data black --steps 10", &[]));
    assert!(text.contains("no rate is suggested"), "{text}");
}

#[test]
fn the_test_stops_if_the_loss_explodes() {
    let world = World::new();
    let find = "lr-find --data tiny --optimizer sgd --batch 16 --to 1e30 --steps 120 --json";
    let found: Value = serde_json::from_str(&stdout(&world.expect(0, find, &[]))).unwrap();
    assert_eq!(found["diverged"], true);
    assert!(found["points"].as_array().unwrap().len() < 120);
    for (arguments, texts) in [
        ("--from 0", ["from", "above 0"]),
        ("--from 1 --to 0.5", ["to", "--from"]),
        ("--steps 9", ["steps", "at least 10"]),
    ] {
        world.expect(2, &format!("lr-find --data tiny {arguments}"), &texts);
    }
}
