//! Lists of indicators: what they match, when, and what is said of what cannot be read.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

use cordon_behavior::story::{Connection, Story};
use cordon_rules::{Hit, Indicators, IndicatorsBuilder};
use jiff::Timestamp;
use proptest::prelude::*;

fn lists(lists: &[(&str, &str)]) -> Indicators {
    let mut builder = IndicatorsBuilder::new();
    for (name, text) in lists {
        builder.list(name, text.as_bytes());
    }
    builder.build()
}

fn story(addresses: &[&str], names: &[&str]) -> Story {
    let connection = |address: &&str| Connection {
        direction: "out".to_owned(),
        address: (*address).to_owned(),
        ..Connection::default()
    };
    Story {
        connections: addresses.iter().map(connection).collect(),
        dns: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Story::default()
    }
}

fn found(indicators: &Indicators, story: &Story) -> Vec<String> {
    let hits = indicators.hits(story, None).into_iter();
    hits.map(|hit| hit.indicator).collect()
}

fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

#[test]
fn names_and_addresses_match_as_far_as_they_are_listed() {
    let list = "203.0.113.9\n198.51.100.0/24 # a net\n198.51.100.128/25\nevil[.]example\n*.bad.example\n2001:db8:1::/48\n";
    let indicators = lists(&[("list.txt", list)]);
    assert_eq!((indicators.problems(), indicators.len()), (&[][..], 6));
    for (addresses, names, wanted) in [
        (&["203.0.113.9"][..], &[][..], &["203.0.113.9"][..]),
        (&["::ffff:203.0.113.9"], &[], &["203.0.113.9"]),
        (&["203.0.113.10", "not an address", ""], &[], &[]),
        (
            &["198.51.100.200"],
            &[],
            &["198.51.100.128/25", "198.51.100.0/24"],
        ),
        (&["2001:db8:1:2::3"], &[], &["2001:db8:1::/48"]),
        (&["2001:db8:2::3"], &[], &[]),
        (&[], &["EVIL.example."], &["evil.example"]),
        (&[], &["sub.evil.example", "notevil.example"], &[]),
        (&[], &["a.b.bad.example"], &["*.bad.example"]),
        (&[], &["bad.example"], &["*.bad.example"]),
        (&[], &["verybad.example", "example", ""], &[]),
    ] {
        assert_eq!(
            found(&indicators, &story(addresses, names)),
            wanted,
            "{addresses:?} {names:?}"
        );
    }
    let mut listening = story(&["203.0.113.9"], &[]);
    listening.connections[0].direction = "listen".to_owned();
    assert!(found(&indicators, &listening).is_empty());
}

#[test]
fn a_hash_matches_the_image_that_has_it() {
    let digest = [0xab; 32];
    let indicators = lists(&[("h.txt", &"AB".repeat(32))]);
    assert!(indicators.has_hashes());
    let hits = indicators.hits(&Story::default(), Some(&digest));
    assert_eq!(
        (hits[0].indicator.len(), hits[0].source.as_str()),
        (64, "h.txt, line 1")
    );
    assert!(
        indicators
            .hits(&Story::default(), Some(&[0xac; 32]))
            .is_empty()
    );
    assert!(indicators.hits(&Story::default(), None).is_empty());
}

#[test]
fn every_damaged_line_is_told_with_its_number_and_the_rest_counts() {
    let mut list = b"# a list\n203.0.113.9\n\n0.0.0.0/0\n203.0.113.9\nnot an indicator\n\xff\xfe\nhxxp://evil[.]example/a\n".to_vec();
    list.extend_from_slice(&vec![b'x'; 5000]);
    list.extend_from_slice(b"\r\nevil.example\r\n");
    let mut builder = IndicatorsBuilder::new();
    builder.list("l.txt", &list);
    builder.unreadable("m.txt", "cannot read it");
    let indicators = builder.build();
    assert_eq!(indicators.len(), 2);
    let told: Vec<String> = indicators
        .problems()
        .iter()
        .map(ToString::to_string)
        .collect();
    for (told, wanted) in told.iter().zip([
        "l.txt, line 4: broken: \"0.0.0.0/0\": 0.0.0.0/0 is too wide",
        "l.txt, line 5: duplicate: \"203.0.113.9\" is in l.txt, line 2 already",
        "l.txt, line 6: broken:",
        "l.txt, line 7: broken: the line is not UTF-8",
        "l.txt, line 8: unsupported: \"hxxp://evil[.]example/a\": a URL",
        "l.txt, line 9: broken: the line has more than 1024 bytes",
        "m.txt: broken: cannot read it",
    ]) {
        assert!(told.starts_with(wanted), "{told}");
    }
    assert_eq!(told.len(), 7);
}

fn bundle(objects: &str) -> String {
    format!(r#"{{"type":"bundle","id":"bundle--1","objects":[{objects}]}}"#)
}

fn indicator(id: &str, more: &str) -> String {
    format!(
        r#"{{"type":"indicator","spec_version":"2.1","id":"indicator--{id}","pattern_type":"stix",{more}}}"#
    )
}

#[test]
fn a_bundle_counts_for_its_time() {
    let ip = r#""pattern":"[ipv4-addr:value = '203.0.113.9']""#;
    let objects = [
        indicator(
            "1",
            &format!(
                r#"{ip},"valid_from":"2026-01-01T00:00:00Z","valid_until":"2026-07-01T00:00:00Z""#
            ),
        ),
        indicator(
            "2",
            r#""pattern":"[domain-name:value = 'evil.example' OR domain-name:value = 'bad.example']","revoked":true"#,
        ),
        indicator(
            "3",
            r#""pattern":"[domain-name:value = 'new.example']","valid_from":"2026-06-02T00:00:00Z""#,
        ),
        r#"{"type":"malware","id":"malware--1","name":"x"}"#.to_owned(),
    ];
    let indicators = lists(&[("b.json", &bundle(&objects.join(",")))]);
    assert_eq!(indicators.problems(), &[]);
    let hits = indicators.hits(
        &story(&["203.0.113.9"], &["new.example", "evil.example"]),
        None,
    );
    let counts = |hit: &Hit, at: &str| hit.counts(at.parse().unwrap());
    assert_eq!(hits.len(), 2);
    assert_eq!(hits[0].source, "b.json, indicator--1");
    assert!(hits[0].counts(now()) && !counts(&hits[0], "2026-07-01T00:00:00Z"));
    assert!(!counts(&hits[0], "2025-12-31T23:59:59Z"));
    assert!(!hits[1].counts(now()) && counts(&hits[1], "2026-06-02T00:00:00Z"));
}

#[test]
fn what_of_a_bundle_cannot_be_read_is_told_by_id() {
    let objects = [
        indicator("1", r#""pattern":"[url:value = 'http://x.example/']""#),
        indicator("2", r#""pattern":7"#),
        indicator("3", r#""pattern":"[ipv4-addr:value = '0.0.0.0/0']""#),
        indicator(
            "4",
            r#""pattern":"[ipv4-addr:value = '203.0.113.9']","valid_until":"soon""#,
        ),
        indicator(
            "5",
            r#""pattern":"[ipv4-addr:value = '203.0.113.9']","revoked":"no""#,
        ),
        r#"{"type":"indicator","pattern":"x","pattern_type":"yara"}"#.to_owned(),
        "3".to_owned(),
        "null".to_owned(),
        indicator("6", r#""pattern":"[ipv4-addr:value = '203.0.113.10']""#),
    ];
    let indicators = lists(&[("b.json", &bundle(&objects.join(",")))]);
    assert_eq!(indicators.len(), 1);
    let names: Vec<&str> = indicators
        .problems()
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    let wanted = [
        "indicator--1",
        "indicator--2",
        "indicator--3",
        "indicator--4",
        "indicator--5",
        "objects[5]",
        "",
        "",
    ];
    assert_eq!(names, wanted);
    let broken = lists(&[
        ("b.json", "{\"type\":\"bundle\",\"objects\":[{\n"),
        ("c.json", "{\"type\":\"x\"}"),
    ]);
    assert!(
        broken.problems()[0]
            .to_string()
            .starts_with("b.json, line 2: broken: not a STIX bundle")
    );
    assert!(broken.problems()[1].why.contains("wanted bundle"));
}

#[test]
fn one_object_costs_no_other_whatever_it_is() {
    let good = indicator("good", r#""pattern":"[ipv4-addr:value = '203.0.113.9']""#);
    let twice = indicator(
        "2",
        r#""pattern":"[ipv4-addr:value = '203.0.113.8']","pattern":"[ipv4-addr:value = '203.0.113.7']""#,
    );
    let deep = format!(
        r#"{{"type":"x","y":{}{}}}"#,
        "[".repeat(9000),
        "]".repeat(9000)
    );
    for (bad, wanted) in [
        (
            twice.as_str(),
            Some("objects[0] is no STIX object: duplicate field `pattern`"),
        ),
        (
            r#"{"type":7}"#,
            Some("objects[0] is no STIX object: its type is no text"),
        ),
        (
            r#"{"type":"indicator","id":1e999,"pattern":"\ud800"}"#,
            Some("pattern is no text"),
        ),
        ("[[]]", Some("objects[0] is no STIX object")),
        (
            r#"{"type":"note","abstract":1e999,"content":"\ud800"}"#,
            None,
        ),
        (deep.as_str(), None),
    ] {
        let indicators = lists(&[("b.json", &bundle(&format!("{bad},{good}")))]);
        assert_eq!(
            found(&indicators, &story(&["203.0.113.9"], &[])),
            ["203.0.113.9"],
            "{bad:.80}"
        );
        let told: Vec<&str> = indicators
            .problems()
            .iter()
            .map(|one| one.why.as_str())
            .collect();
        assert_eq!(
            told.len(),
            usize::from(wanted.is_some()),
            "{bad:.80}: {told:?}"
        );
        assert!(
            told.iter()
                .zip(wanted)
                .all(|(told, wanted)| told.starts_with(wanted)),
            "{told:?}"
        );
    }
    let broken = lists(&[("b.json", r#"{"objects":{"a":1},"type":"bundle"}"#)]);
    assert!(
        broken.problems()[0].why.contains("a list of STIX objects"),
        "{:?}",
        broken.problems()
    );
}

#[test]
fn a_list_has_at_most_16_mib() {
    let address = "203.0.113.9";
    let mut list = address.to_owned() + &"\n".repeat((16 << 20) - address.len());
    let indicators = lists(&[("l.txt", &list)]);
    assert_eq!((indicators.len(), indicators.problems()), (1, &[][..]));
    list.push('\n');
    let indicators = lists(&[("l.txt", &list)]);
    assert_eq!(indicators.len(), 0);
    assert!(indicators.problems()[0].why.contains("16777216 bytes"));
}

#[test]
fn there_is_a_bound_and_it_is_told() {
    use std::fmt::Write as _;
    let mut list = String::new();
    for number in 0..400_000_u32 {
        let address = std::net::Ipv4Addr::from_bits(0x0b00_0000 + number);
        writeln!(list, "{address}").unwrap();
    }
    let indicators = lists(&[("l.txt", &list)]);
    assert!(
        indicators.len() > 200_000 && indicators.len() < 400_000,
        "{}",
        indicators.len()
    );
    let untold = indicators.unlisted_problems() + indicators.problems().len();
    assert_eq!(untold + indicators.len(), 400_000);
    assert!(indicators.problems()[0].why.contains("no room"));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut builder = IndicatorsBuilder::new();
        builder.list("x", &bytes);
        builder.list("y", &[b"{", &bytes[..]].concat());
        builder.build();
    }

    #[test]
    fn a_net_has_what_arithmetic_says(net: u32, length in 8_u32..=32, address: u32) {
        let kept = u32::MAX << (32 - length);
        let text = format!("{}/{length}", std::net::Ipv4Addr::from_bits(net));
        let indicators = lists(&[("l", &text)]);
        prop_assume!(indicators.len() == 1);
        for address in [address, net, net ^ (1 << (32 - length)).min(u32::MAX >> 1), net | !kept] {
            let shown = std::net::Ipv4Addr::from_bits(address).to_string();
            let is_in = address & kept == net & kept;
            prop_assert_eq!(found(&indicators, &story(&[&shown], &[])).len(), usize::from(is_in), "{} {}", text, shown);
        }
    }
}
