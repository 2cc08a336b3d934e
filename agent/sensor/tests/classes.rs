//! A class of events that no test causes is a promise that nobody checks.

use cordon_sensor::CLASSES;

/// The tables of the tests beside this one. A row begins with the class that its action must cause.
const TABLES: [&str; 5] = [
    include_str!("process.rs"),
    include_str!("privilege.rs"),
    include_str!("network.rs"),
    include_str!("files.rs"),
    include_str!("file_rates.rs"),
];

/// What the tuples of a file's `ROWS` begin with, the classes among it.
fn rows(source: &str) -> impl Iterator<Item = &str> {
    let table = source.split_once("const ROWS").map_or("", |(_, rest)| rest);
    let table = table.split_once("];").map_or("", |(table, _)| table);
    let cells = table.split("(\"").skip(1);
    cells.filter_map(|row| row.split_once('"').map(|(class, _)| class))
}

#[test]
fn every_class_has_a_row_that_causes_it() {
    let caused: Vec<&str> = TABLES.into_iter().flat_map(rows).collect();
    for class in CLASSES {
        assert!(caused.contains(&class), "no action causes {class}");
    }
}
