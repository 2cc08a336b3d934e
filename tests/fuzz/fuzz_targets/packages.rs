//! `cordon_sensor`: rpm's databases and the headers in them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut header = |header: &[u8]| {
        drop(cordon_sensor::rpm_name(header));
        drop(cordon_sensor::rpm_paths(header, &mut |_| {}));
    };
    header(bytes);
    drop(cordon_sensor::ndb_blobs(bytes, &mut header));
    let (file, wal) = bytes.split_at(bytes.len() / 2);
    for (file, wal) in [(bytes, None), (file, Some(wal))] {
        drop(cordon_sensor::sqlite_column(
            file,
            wal,
            "Packages",
            1,
            &mut header,
        ));
    }
});
