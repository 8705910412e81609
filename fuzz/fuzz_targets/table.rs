//! Whatever the bytes: as a table, an array or an archive of arrays they are refused, or hold what they say; no panic.
#![no_main]

use std::io::Cursor;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use runner::data::npy::{self, Elements};
use runner::data::table::{self, Goal};
use runner::data::{Inputs, arrays};

fuzz_target!(|bytes: &[u8]| {
    let path = Path::new("fuzzed");
    for goal in [Goal::Label("y".into()), Goal::Target("y".into())] {
        if let Ok(table) = table::parse(bytes, path, &goal, &mut |_| {}) {
            assert_eq!(table.rows.cols(), table.columns.len());
            assert!(
                matches!(table.rows.inputs(), Inputs::Numbers(all) if all.iter().all(|x| x.is_finite()))
            );
        }
    }
    if let Ok(array) = npy::parse(bytes, path) {
        let len = match array.elements {
            Elements::Bytes(all) => all.len(),
            Elements::Integers(all) => all.len(),
            Elements::Floats(all) => all.len(),
        };
        assert_eq!(len, array.shape.iter().product::<usize>());
    }
    if let Ok(set) = arrays::parse(Cursor::new(bytes), path, &mut |_| {}) {
        assert!(!set.train.is_empty());
    }
});
