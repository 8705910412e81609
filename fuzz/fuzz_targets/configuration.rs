//! Whatever the text: a configuration is refused in words, or is written and read back as the same, and its network is built or refused; no
//! panic, and no memory for what is only named.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use nn::{Network, Plan, Shape};
use runner::config::Config;

fuzz_target!(|text: &str| {
    let path = Path::new("input.toml");
    let Ok(config) = Config::parse(text, path) else { return };
    if config.check().is_err() {
        return;
    }
    if let Ok(written) = config.to_toml() {
        let read = Config::parse(&written, path).expect("what was written");
        assert_eq!(read.to_toml().expect("what was written"), written);
    }
    let layers = config.layers.clone().unwrap_or_else(|| config.preset.layers(10));
    let input = Shape::Image { height: 28, width: 28, channels: 1 };
    if let Ok(network) = Network::new(input, &layers) {
        let _ = Plan::new(network.layout(), config.optimizer, &config.groups);
    }
});
