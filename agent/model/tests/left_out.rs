//! What the committed model finds and mistakes of the stories that nothing was fitted or calibrated on: a model that
//! falls far below the one that it takes the place of is not committed unseen. How good it is, `cargo xtask eval` says.

use std::path::Path;

use cordon_model::Model;
use cordon_model::tune::{self, Part};

#[test]
fn of_what_was_left_out_most_attacks_are_found_and_little_work_is_mistaken() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("artifact");
    let model = Model::load(&dir).expect("the committed artifact loads");
    let malicious = model.thresholds().malicious;
    // A few of each whole source, recorded family and other run that is reported.
    let mut stories = tune::stories();
    stories.retain(|one| one.part == Part::Check);
    for (source, least_found, most_mistaken) in [
        ("pack:", 0.8, 0.02),
        ("recorded:", 0.4, 0.02),
        ("runs:", 0.6, 0.02),
    ] {
        let share = |hostile: bool| {
            let mine = stories
                .iter()
                .filter(|one| one.malicious == hostile && one.story.id.starts_with(source));
            let said: Vec<f32> = mine
                .map(|one| model.assess(&one.story).probability)
                .collect();
            assert!(said.len() > 100, "{} stories tell nothing", said.len());
            let called = said.iter().filter(|said| **said >= malicious).count();
            called as f64 / said.len() as f64
        };
        let (found, mistaken) = (share(true), share(false));
        assert!(found >= least_found, "{source}: {found:.3} found");
        assert!(
            mistaken <= most_mistaken,
            "{source}: {mistaken:.4} mistaken"
        );
    }
}
