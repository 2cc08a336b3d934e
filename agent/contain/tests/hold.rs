//! An isolation that is held while no daemon does, and devices that come and go meanwhile, with real frames.
#![allow(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

mod lab;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use cordon_contain::{Containment, Health, NftWatch};
use cordon_proto::AGENT_SOCKET_MARK;
use lab::wire::{Packet, ethernet, ipv4_udp};
use lab::{HOST_MAC, HOST4, Lab, Node, OUTSIDE4, PEER_MAC};

const LIMIT: Duration = Duration::from_secs(10);
const NEEDLE: &[u8] = b"from a device that came late";

/// What a restore unit does after its boot, on a thread in the host's namespace.
struct Held {
    goes_on: Arc<AtomicBool>,
    mended: Arc<Mutex<Vec<Health>>>,
    moved: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Held {
    fn begin(lab: &Lab) -> Self {
        let goes_on = Arc::new(AtomicBool::new(true));
        let (mended, moved) = (
            Arc::<Mutex<Vec<_>>>::default(),
            Arc::<Mutex<Vec<_>>>::default(),
        );
        let state = lab.state.path().to_owned();
        let (on, told, gone) = (
            Arc::clone(&goes_on),
            Arc::clone(&mended),
            Arc::clone(&moved),
        );
        let thread = lab.host.run(move || {
            let changes = NftWatch::open().unwrap();
            std::thread::spawn(move || {
                let containment = Containment::open(&state, AGENT_SOCKET_MARK).unwrap();
                let asks = || on.load(Ordering::Relaxed);
                let tells = |looked: Result<Health, _>| {
                    gone.lock().unwrap().extend(changes.take_moved());
                    told.lock().unwrap().push(looked.unwrap());
                };
                containment.hold(&changes, asks, tells).unwrap();
                gone.lock().unwrap().extend(changes.take_moved());
            })
        });
        Self {
            goes_on,
            mended,
            moved,
            thread: Some(thread),
        }
    }

    fn has_mended(&self, health: &Health) -> bool {
        self.mended.lock().unwrap().contains(health)
    }

    /// It ends within seconds.
    fn end(&mut self) {
        self.goes_on.store(false, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Sends frames by a packet socket without a pause, until it is dropped.
struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    fn from(node: &Node, device: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU32::new(0));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = node.run(move || {
            let socket = Packet::open(device).bypass_qdisc();
            let frame = ethernet(
                PEER_MAC,
                HOST_MAC,
                0x0800,
                &ipv4_udp((HOST4, 9), (OUTSIDE4, 9), NEEDLE),
            );
            std::thread::spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    socket.send(&frame);
                    count.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_micros(100));
                }
            })
        });
        Self {
            stop,
            sent,
            thread: Some(thread),
        }
    }

    /// So many more were tried from now on.
    fn goes_on_for(&self, frames: u32) {
        let until = self.sent.load(Ordering::Relaxed) + frames;
        assert!(lab::eventually(LIMIT, || self.sent.load(Ordering::Relaxed) >= until));
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn arrived(ear: &Packet) -> u32 {
    ear.count(|frame| frame.windows(NEEDLE.len()).any(|part| part == NEEDLE))
}

/// A veth whose other end is at the peer; frames on it are seen there.
fn late_device(lab: &Lab) -> Packet {
    lab.host.sh(&format!(
        "ip link add late0 type veth peer name late1 netns {}; ip link set late0 up",
        lab.peer.thread_id
    ));
    lab.peer.sh("ip link set late1 up");
    lab.peer.run(|| Packet::open("late1").roomy())
}

#[test]
fn a_device_that_appears_while_no_daemon_runs_is_covered() {
    let lab = Lab::new();
    lab.isolate();
    // Nobody holds it: the frames of a raw sender get out, and go on to.
    let ear = late_device(&lab);
    let flood = Flood::from(&lab.host, "late0");
    flood.goes_on_for(200);
    assert!(lab.peer.run(move || arrived(&ear)) > 100);
    drop(flood);
    lab.host.sh("ip link delete late0");

    let mut held = Held::begin(&lab);
    let ear = late_device(&lab);
    let flood = Flood::from(&lab.host, "late0");
    let late = Health::Uncovered {
        device: "late0".into(),
    };
    assert!(lab::eventually(LIMIT, || held.has_mended(&late)));
    assert_eq!(lab.contain(Containment::verify).unwrap(), Health::Whole);
    // What was sent until then may have arrived; from now on nothing does.
    let ear = lab.peer.run(move || {
        arrived(&ear);
        ear
    });
    flood.goes_on_for(2000);
    assert_eq!(lab.peer.run(move || arrived(&ear)), 0);
    drop(flood);

    lab.host.sh("nft flush ruleset");
    assert!(lab::eventually(LIMIT, || held.has_mended(&Health::Missing)));
    assert!(lab.is_shut());
    held.end();
    lab.host.sh("nft flush ruleset");
    std::thread::sleep(Duration::from_millis(500));
    assert!(lab.is_open(), "nobody holds it any more");
}

#[test]
fn holding_ends_with_the_isolation() {
    let lab = Lab::new();
    lab.isolate();
    let mut held = Held::begin(&lab);
    lab.release();
    let thread = held.thread.take().unwrap();
    assert!(lab::eventually(LIMIT, || thread.is_finished()));
    thread.join().unwrap();
    assert!(lab.is_open());
}

#[test]
fn an_uplink_that_is_moved_away_is_told_and_covered_when_it_comes_back() {
    let lab = Lab::new();
    lab.isolate();
    let mut held = Held::begin(&lab);
    let elsewhere = Node::new();
    // Neither a device that goes, nor one that gets another name, has moved.
    lab.host
        .sh("ip link add d0 type veth peer name d9; ip link set d0 name d1; ip link delete d1");
    lab.host
        .sh(&format!("ip link set up0 netns {}", elsewhere.thread_id));
    // There no rule of the host's holds: the frames get out.
    let ear = lab.peer.run(|| Packet::open("up1").roomy());
    elsewhere.sh("ip link set up0 up");
    let flood = Flood::from(&elsewhere, "up0");
    flood.goes_on_for(200);
    drop(flood);
    let (out, ear) = lab.peer.run(move || (arrived(&ear), ear));
    assert!(out > 100, "{out}");

    elsewhere.sh(&format!("ip link set up0 netns {}", lab.host.thread_id));
    lab.host.sh("ip link set up0 up");
    // Linux 6.16 and later keep the chain for whoever has its device's name; before that it is a device that appears.
    let is_whole = || lab.contain(Containment::verify).unwrap() == Health::Whole;
    assert!(lab::eventually(LIMIT, is_whole));
    let flood = Flood::from(&lab.host, "up0");
    flood.goes_on_for(2000);
    drop(flood);
    assert_eq!(lab.peer.run(move || arrived(&ear)), 0);
    held.end();
    assert_eq!(*held.moved.lock().unwrap(), ["up0"]);
}
