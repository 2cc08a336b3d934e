//! Who is told what, when.

use super::*;

const GROUP: &str = "servers";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn host(number: u8) -> Known {
    Known {
        id: format!("01890000-0000-7000-8000-0000000000{number:02}")
            .parse()
            .unwrap(),
        name: format!("ep{number}"),
        group: GROUP.into(),
        addresses: vec![
            IpAddr::from([10, 0, 0, number]),
            format!("fd00::{number}").parse().unwrap(),
            format!("fe80::{number}").parse().unwrap(),
        ],
        calls_from: Some(IpAddr::from([10, 0, 0, number])),
        online: true,
        evicted: false,
        standing: Standing::Open,
    }
}

fn isolated() -> Known {
    Known {
        standing: Standing::Isolated,
        ..host(1)
    }
}

fn bounds() -> BTreeMap<String, BlockIsolated> {
    let says = BlockIsolated {
        seconds: 600,
        hosts: 4,
    };
    [(GROUP.to_owned(), says)].into()
}

fn told(verb: Verb, state: OrderState, seconds: i64) -> PeerOrder {
    PeerOrder {
        host: host(2).id,
        peer: host(1).id,
        verb,
        state,
        issued_at: at(seconds),
    }
}

fn blocking() -> Verb {
    Verb::BlockHost {
        peer: host(1).id,
        addresses: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
        seconds: 600,
    }
}

fn unblocking() -> Verb {
    Verb::UnblockHost { peer: host(1).id }
}

/// What host 2 is told about host 1 at `seconds`.
fn said(about: &Known, last: Option<PeerOrder>, seconds: i64) -> Option<Verb> {
    let told: Vec<PeerOrder> = last.into_iter().collect();
    let mut due = plan(&[about.clone(), host(2)], &bounds(), &told, at(seconds));
    assert!(due.len() <= 1 && due.iter().all(|due| due.host == host(2).id));
    due.pop().map(|due| due.verb)
}

#[test]
fn who_is_online_in_the_group_blocks_an_isolated_host_and_nobody_else_does() {
    let away = Known {
        online: false,
        ..host(3)
    };
    let turned_out = Known {
        evicted: true,
        ..host(4)
    };
    let other = Known {
        group: "desktops".into(),
        ..host(5)
    };
    let hosts = [isolated(), host(2), away, turned_out, other];
    let due = plan(&hosts, &bounds(), &[], at(0));
    let [order] = due.as_slice() else {
        panic!("{due:?}")
    };
    assert_eq!((order.host, &order.verb), (host(2).id, &blocking()));
    assert_eq!(order.reason, "host \"ep1\" is isolated");
    assert!(
        plan(&hosts, &BTreeMap::new(), &[], at(0)).is_empty(),
        "no policy says so"
    );
    assert_eq!(said(&host(1), None, 0), None);
    assert_eq!(
        said(
            &Known {
                evicted: true,
                ..isolated()
            },
            None,
            0
        ),
        None
    );
}

/// Whoever is root there names its addresses.
#[test]
fn no_address_of_another_host_is_blocked_by_an_isolated_ones_word() {
    let mut liar = isolated();
    for stolen in [
        "10.0.0.2",
        "::ffff:10.0.0.2",
        "fd00::2",
        "127.0.0.1",
        "ff02::1",
        "10.0.9.9",
    ] {
        liar.addresses
            .push(stolen.parse::<IpAddr>().unwrap().to_canonical());
    }
    let caller = Known {
        calls_from: Some("10.0.9.9".parse().unwrap()),
        ..host(2)
    };
    let due = plan(&[liar.clone(), caller], &bounds(), &[], at(0));
    assert_eq!(due[0].verb, blocking());
    let many = (0..100).map(|n| IpAddr::from([10, 1, 0, n]));
    liar.addresses = many.collect();
    let hosts = [liar, host(2)];
    assert_eq!(own_addresses(&hosts[0], &hosts).len(), MOST_HOST_ADDRESSES);
}

#[test]
fn a_host_is_told_anew_before_the_time_is_over_and_not_sooner() {
    use OrderState::{Delivered, Done, Expired, Failed, Queued, Refused, Started};
    for (state, seconds, is_told) in [
        (Done, 1, false),
        (Done, 299, false),
        (Done, 300, true),
        (Done, 700, true),
        (Queued, 100, false),
        (Delivered, 100, false),
        (Started, 100, false),
        (Started, 300, true),
        (Failed, 1, false),
        (Failed, 60, true),
        (Refused, 60, true),
        (Expired, 60, true),
    ] {
        let verb = said(&isolated(), Some(told(blocking(), state, 0)), seconds);
        assert_eq!(verb, is_told.then(blocking), "{state:?} after {seconds} s");
    }
    let moved = Known {
        addresses: vec!["10.0.0.77".parse().unwrap()],
        ..isolated()
    };
    let verb = said(&moved, Some(told(blocking(), Done, 0)), 1);
    assert!(matches!(verb, Some(Verb::BlockHost { addresses, .. }) if addresses.len() == 2));
    assert_eq!(
        said(&isolated(), Some(told(unblocking(), Done, 0)), 1),
        Some(blocking())
    );
}

#[test]
fn only_a_release_by_order_ends_a_block_before_its_time() {
    use OrderState::{Done, Failed, Queued};
    let released = Known {
        standing: Standing::Released,
        ..host(1)
    };
    let in_force = || Some(told(blocking(), Done, 0));
    assert_eq!(said(&released, in_force(), 1), Some(unblocking()));
    assert_eq!(said(&host(1), in_force(), 1), None, "its own word");
    assert_eq!(said(&released, in_force(), 600), None, "over already");
    assert_eq!(
        said(&released, Some(told(blocking(), Queued, 0)), 1),
        None,
        "on its way"
    );
    assert_eq!(
        said(&released, Some(told(unblocking(), Done, 0)), 100),
        None
    );
    assert_eq!(
        said(&released, Some(told(unblocking(), Failed, 0)), 100),
        Some(unblocking())
    );
    assert_eq!(
        said(
            &Known {
                evicted: true,
                ..released
            },
            in_force(),
            1
        ),
        None
    );
    // The policy does not say so any more.
    let due = plan(
        &[isolated(), host(2)],
        &BTreeMap::new(),
        &[told(blocking(), Done, 0)],
        at(1),
    );
    assert_eq!(due[0].verb, unblocking());
}
