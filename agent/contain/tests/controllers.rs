//! Isolations with other controllers than one of each family: on IPv6 alone, on IPv4 alone, several, none.
#![allow(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod lab;

use std::net::SocketAddr;

use cordon_contain::{ContainError, Containment, Health, IsolationSpec, Recovered};
use cordon_proto::AGENT_SOCKET_MARK;
use lab::{ALLOWED4, CONTROLLER4, CONTROLLER6, Lab, OUTSIDE4, OUTSIDE6, PORT, at, wire};

const MARK: Option<u32> = Some(AGENT_SOCKET_MARK);

/// What answers at the lab's peer, controller or not.
fn ends() -> [SocketAddr; 6] {
    [
        at(CONTROLLER4, PORT),
        at(CONTROLLER6, PORT),
        at(ALLOWED4, 443),
        at(CONTROLLER4, 443),
        at(OUTSIDE4, PORT),
        at(OUTSIDE6, PORT),
    ]
}

fn with(controllers: &[SocketAddr]) -> IsolationSpec {
    IsolationSpec {
        controllers: controllers.to_vec(),
        allow: Vec::new(),
        ..lab::spec()
    }
}

/// The controllers, and nobody else, are reached by the agent, and by nobody else.
fn assert_shut_but_for(lab: &Lab, controllers: &[SocketAddr]) {
    for end in ends() {
        let tcp = |mark| lab.host.run(move || wire::tcp(end, mark, 0).is_some());
        assert_eq!(tcp(MARK), controllers.contains(&end), "{end}, marked");
        assert!(!tcp(None), "{end}, not marked");
    }
}

#[test]
fn the_agent_reaches_its_controllers_and_no_others_however_many_there_are() {
    let (v4, v6, other) = (
        at(CONTROLLER4, PORT),
        at(CONTROLLER6, PORT),
        at(ALLOWED4, 443),
    );
    for controllers in [&[v6][..], &[v4], &[v4, v6, other], &[other, v6], &[]] {
        let lab = Lab::new();
        let spec = with(controllers);
        let wanted = spec.clone();
        let applied = lab.contain(move |c| c.isolate(&wanted)).unwrap();
        assert_eq!(applied.warnings, Vec::<String>::new());
        assert_shut_but_for(&lab, controllers);

        // The link must not need what is shut: neighbours are asked for anew.
        lab.host.sh("ip neigh flush dev up0");
        assert_shut_but_for(&lab, controllers);
        let probes = {
            let spec = spec.clone();
            lab.contain(move |c| c.prove(&spec, &[]))
        };
        assert_eq!(probes.len(), 2 * controllers.len());
        assert!(
            probes.iter().all(|probe| probe.reached == probe.expected),
            "{probes:?}"
        );

        // A host whose state file is gone still knows every one of them.
        std::fs::remove_file(lab.state.path().join("isolation.json")).unwrap();
        let recovered = lab.contain(Containment::recover).unwrap();
        let Recovered::FromKernel(found) = recovered else {
            panic!("{recovered:?}");
        };
        assert_eq!(found.controllers, spec.controllers);
        assert_eq!(lab.contain(Containment::verify).unwrap(), Health::Whole);
        assert_shut_but_for(&lab, controllers);
        lab.release();
        assert!(lab.is_open());
    }
}

#[test]
fn without_controller_and_lease_nothing_is_dropped() {
    let lab = Lab::new();
    let spec = IsolationSpec {
        lease_expires_at: None,
        ..with(&[])
    };
    let refused = lab.contain(move |c| c.isolate(&spec));
    assert!(matches!(refused, Err(ContainError::NoWayBack)));
    assert!(lab.is_open());
}
