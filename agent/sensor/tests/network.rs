//! Each class of events about sockets, caused for real, over IPv4 and IPv6. Needs root.
//!
//! The tests run this program again in a network namespace of its own (port 53 is free there), also
//! inside a PID namespace and inside a child cgroup with a sensor that watches just that.
// Long because each class is caused over both families and in each scope; it is one table of cases.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set up its case has failed"
)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cordon_behavior::event::{Closed, Direction, Dns, Protocol, SocketFamily};
use cordon_sensor::{EventBody, Mode, Scope};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, setsockopt, socket, sockopt,
};
use support::{Watch, has_tracepoint, mark, marked};

type Row = fn(&mut Watch);

/// Each class, and what causes and checks it.
const ROWS: &[(&str, Row)] = &[
    ("listen", listen),
    ("connect", connect),
    ("accept", accept),
    ("close", close),
    ("udp", udp),
    ("dns", dns),
    ("raw_socket", raw_socket),
];

const LOOPBACKS: [&str; 2] = ["127.0.0.1", "::1"];
const SCOPE: &str = "CORDON_TEST_SCOPE";

fn at(host: &str, port: u16) -> SocketAddr {
    SocketAddr::new(host.parse().unwrap(), port)
}

fn own() -> u32 {
    std::process::id()
}

/// Everything that happened before this call is in `watch.seen` after it.
fn settle(watch: &mut Watch) {
    let last = mark("last");
    marked("/bin/sh", &last).status().unwrap();
    watch.exec(&last);
}

fn count(watch: &Watch, is: impl Fn(&EventBody) -> bool) -> usize {
    let own = watch.seen.iter().filter(|event| event.process.pid == own());
    own.filter(|event| is(&event.body)).count()
}

/// `bash` does it, so that the event names another process than the test.
fn bash(line: &str) -> u32 {
    let mut child = Command::new("bash").args(["-c", line]).spawn().unwrap();
    assert!(child.wait().unwrap().success());
    child.id()
}

/// listen: TCP sockets that listen and UDP sockets that are bound.
fn listen(watch: &mut Watch) {
    for host in LOOPBACKS {
        let tcp = TcpListener::bind(at(host, 0)).unwrap();
        let udp = UdpSocket::bind(at(host, 0)).unwrap();
        let wanted = [
            (tcp.local_addr().unwrap(), Protocol::Tcp),
            (udp.local_addr().unwrap(), Protocol::Udp),
        ];
        for wanted in wanted {
            watch.wait("listen", |event| match event.body {
                EventBody::Listen { local, protocol } if (local, protocol) == wanted => {
                    (event.process.pid == own()).then_some(())
                }
                _ => None,
            });
        }
    }
}

/// connect: by the process that connects.
fn connect(watch: &mut Watch) {
    for host in LOOPBACKS {
        let listener = TcpListener::bind(at(host, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let pid = bash(&format!("exec 3<>/dev/tcp/{host}/{}", address.port()));
        watch.wait("connect", |event| match event.body {
            EventBody::Connect { remote } if remote == address => Some(event.process.pid),
            _ => None,
        });
        let by =
            |body: &EventBody| matches!(body, EventBody::Connect { remote } if *remote == address);
        let found = watch.seen.iter().find(|event| by(&event.body)).unwrap();
        assert_eq!(found.process.pid, pid);
    }
}

/// accept: by the process that listens, whoever runs when the connection comes up.
fn accept(watch: &mut Watch) {
    for host in LOOPBACKS {
        let listener = TcpListener::bind(at(host, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let pid = bash(&format!("exec 3<>/dev/tcp/{host}/{port}"));
        let (_stream, peer) = listener.accept().unwrap();
        let process = watch.wait("accept", |event| match event.body {
            EventBody::Accept { remote, local_port } if local_port == port && remote == peer => {
                Some(event.process)
            }
            _ => None,
        });
        assert_eq!(process.pid, own());
        assert_ne!(process.pid, pid);
    }
}

/// A process that listens, leaves the socket to its child and ends; the child ends with its input.
const DAEMON: &str = r#"use Socket; $| = 1; socket(S, PF_INET, SOCK_STREAM, 0);
    bind(S, sockaddr_in(0, inet_aton("127.0.0.1"))); listen(S, 8);
    ($port) = sockaddr_in(getsockname(S)); print "$port\n"; exit if fork; <STDIN>"#;

/// accept: by the child of a daemon that has ended.
#[test]
fn what_a_daemon_leaves_to_its_child_is_the_childs() {
    let mut watch = Watch::start(Scope::Host, Mode::Ebpf);
    let mut daemon = Command::new("perl")
        .args(["-e", DAEMON])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let _child_ends_with_it = daemon.stdin.take();
    let mut port = String::new();
    let mut told = BufReader::new(daemon.stdout.take().unwrap());
    told.read_line(&mut port).unwrap();
    daemon.wait().unwrap();
    let address = at("127.0.0.1", port.trim().parse().unwrap());
    let [first, heir] = [true, false].map(|is_daemon| {
        watch.wait("listener", |event| match event.body {
            EventBody::Listen { local, .. } if local == address => {
                ((event.process.pid == daemon.id()) == is_daemon).then_some(event.process)
            }
            _ => None,
        })
    });
    assert_ne!(first, heir);
    drop(TcpStream::connect(address).unwrap());
    let process = watch.wait("accept", |event| match event.body {
        EventBody::Accept { local_port, .. } if local_port == address.port() => Some(event.process),
        _ => None,
    });
    assert_eq!(process, heir);
}

/// Both ends of one MPTCP connection, which then ends; prints the port.
const MULTIPATH: &str = r#"use Socket; $mptcp = 262;
    socket(L, PF_INET, SOCK_STREAM, $mptcp) or die; bind(L, sockaddr_in(0, inet_aton("127.0.0.1")));
    listen(L, 8); $at = getsockname(L); socket(C, PF_INET, SOCK_STREAM, $mptcp) or die;
    connect(C, $at) or die; accept(S, L) or die; syswrite(C, "12345"); sysread(S, $x, 5);
    close(C); sysread(S, $x, 1); close(S); ($port) = sockaddr_in($at); print $port"#;

/// connect, accept, close: of a connection over several paths each path once, here one.
#[test]
fn a_connection_over_several_paths_is_not_told_twice() {
    let mut watch = Watch::start(Scope::Host, Mode::Ebpf);
    let perl = Command::new("perl")
        .args(["-e", MULTIPATH])
        .output()
        .unwrap();
    assert!(perl.status.success(), "this kernel has no MPTCP: {perl:?}");
    let port: u16 = String::from_utf8(perl.stdout).unwrap().parse().unwrap();
    let server = at("127.0.0.1", port);
    for (class, sent) in [(Direction::Out, 5), (Direction::In, 0)] {
        watch.wait("close", |event| match &event.body {
            EventBody::Close(closed) if closed.direction == class => {
                let is_it = closed.remote == server || closed.local_port == port;
                (is_it && closed.sent >= sent).then_some(())
            }
            _ => None,
        });
    }
    settle(&mut watch);
    let times =
        |is: &dyn Fn(&EventBody) -> bool| watch.seen.iter().filter(|event| is(&event.body)).count();
    let connects =
        times(&|body| matches!(body, EventBody::Connect { remote } if *remote == server));
    let accepts =
        times(&|body| matches!(body, EventBody::Accept { local_port, .. } if *local_port == port));
    let listens =
        times(&|body| matches!(body, EventBody::Listen { local, .. } if *local == server));
    assert_eq!((connects, accepts, listens), (1, 1, 1));
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    ClientFirst,
    ServerFirst,
    HalfClosed,
    Reset,
}

/// close: the exact bytes of each side, whoever ends it and however.
fn close(watch: &mut Watch) {
    for host in LOOPBACKS {
        for ending in [
            Ending::ClientFirst,
            Ending::ServerFirst,
            Ending::HalfClosed,
            Ending::Reset,
        ] {
            close_by(watch, host, ending);
        }
        refused(watch, host);
    }
}

fn close_by(watch: &mut Watch, host: &str, ending: Ending) {
    let (to_server, to_client) = (vec![1; 70_001], vec![2; 130_003]);
    let listener = TcpListener::bind(at(host, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    let (mut server, peer) = listener.accept().unwrap();
    let serve = std::thread::spawn(move || {
        server.read_exact(&mut vec![0; 70_001]).unwrap();
        server.write_all(&to_client).unwrap();
        server
    });
    client.write_all(&to_server).unwrap();
    client.read_exact(&mut vec![0; 130_003]).unwrap();
    let server = serve.join().unwrap();
    end(client, server, ending);
    let out = closed(watch, address, peer.port(), Direction::Out);
    assert_eq!(
        (out.sent, out.received),
        (70_001, 130_003),
        "{ending:?} {out:?}"
    );
    assert!(out.lasted_ns > 0);
    let inbound = closed(watch, peer, address.port(), Direction::In);
    assert_eq!(inbound.received, 70_001, "{ending:?} {inbound:?}");
    // What a reset overtakes is not acknowledged.
    if !matches!(ending, Ending::Reset) {
        assert_eq!(inbound.sent, 130_003, "{ending:?} {inbound:?}");
    }
}

fn end(mut client: TcpStream, mut server: TcpStream, ending: Ending) {
    match ending {
        Ending::ClientFirst => {
            drop(client);
            assert_eq!(server.read(&mut [0]).unwrap(), 0);
        }
        Ending::ServerFirst => {
            drop(server);
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
        }
        Ending::HalfClosed => {
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(server.read(&mut [0]).unwrap(), 0);
            server.shutdown(Shutdown::Write).unwrap();
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
        }
        Ending::Reset => {
            let at_once = nix::libc::linger {
                l_onoff: 1,
                l_linger: 0,
            };
            setsockopt(&client, sockopt::Linger, &at_once).unwrap();
            drop(client);
            assert!(server.read(&mut [0]).is_err());
        }
    }
}

fn closed(watch: &mut Watch, remote: SocketAddr, local_port: u16, direction: Direction) -> Closed {
    watch.wait("close", |event| match &event.body {
        EventBody::Close(closed) if event.process.pid == own() => {
            let is_it = (closed.remote, closed.local_port) == (remote, local_port)
                && closed.direction == direction;
            is_it.then(|| closed.as_ref().clone())
        }
        _ => None,
    })
}

/// A connection that is refused ends too, with nothing sent.
fn refused(watch: &mut Watch, host: &str) {
    let nobody = TcpListener::bind(at(host, 0))
        .unwrap()
        .local_addr()
        .unwrap();
    TcpStream::connect(nobody).unwrap_err();
    let bytes = watch.wait("close of the refused", |event| match &event.body {
        EventBody::Close(closed) if closed.remote == nobody => Some((closed.sent, closed.received)),
        _ => None,
    });
    assert_eq!(bytes, (0, 0));
}

/// udp: each peer once, connected or not, and only who was sent to.
fn udp(watch: &mut Watch) {
    let mut wanted = Vec::new();
    let mut unwanted = Vec::new();
    let mut kept = Vec::new();
    for host in LOOPBACKS {
        let sender = UdpSocket::bind(at(host, 0)).unwrap();
        let connected = UdpSocket::bind(at(host, 0)).unwrap();
        let silent = UdpSocket::bind(at(host, 0)).unwrap();
        let peers = [0, 1, 2].map(|_| UdpSocket::bind(at(host, 0)).unwrap());
        let [first, second, third] = peers.each_ref().map(|peer| peer.local_addr().unwrap());
        for _ in 0..3 {
            sender.send_to(b"x", first).unwrap();
        }
        connected.connect(second).unwrap();
        connected.send(b"x").unwrap();
        connected.send(b"x").unwrap();
        silent.connect(third).unwrap();
        wanted.extend([first, second]);
        unwanted.push(third);
        kept.extend(peers);
    }
    mapped(&mut wanted, &mut kept);
    settle(watch);
    let told =
        |peer| move |body: &EventBody| matches!(body, EventBody::Udp { remote } if *remote == peer);
    for peer in wanted {
        assert_eq!(count(watch, told(peer)), 1, "{peer}");
    }
    for peer in unwanted {
        assert_eq!(count(watch, told(peer)), 0, "{peer}");
    }
}

/// An IPv4 peer of an IPv6 socket is told as what it is.
fn mapped(wanted: &mut Vec<SocketAddr>, kept: &mut Vec<UdpSocket>) {
    for is_connected in [false, true] {
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = peer.local_addr().unwrap().port();
        let sender = UdpSocket::bind("[::]:0").unwrap();
        let address = at("::ffff:127.0.0.1", port);
        if is_connected {
            sender.connect(address).unwrap();
            sender.send(b"x").unwrap();
        } else {
            sender.send_to(b"x", address).unwrap();
        }
        wanted.push(at("127.0.0.1", port));
        kept.push(peer);
    }
}

/// `cordon.example.net`, type A.
const QUESTION: &str = r"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06cordon\x07example\x03net\x00\x00\x01\x00\x01";

/// dns: questions and answers, by the process that asks.
fn dns(watch: &mut Watch) {
    for host in LOOPBACKS {
        let server = at(host, 53);
        let resolver = UdpSocket::bind(server).unwrap();
        let serve = std::thread::spawn(move || {
            let mut message = [0; 512];
            let (bytes, client) = resolver.recv_from(&mut message).unwrap();
            let mut answer = message[..bytes].to_vec();
            (answer[2], answer[3], answer[7]) = (0x81, 0x80, 1);
            answer.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xcb\0\x71\x09");
            resolver.send_to(&answer, client).unwrap();
        });
        let pid = bash(&format!(
            "exec 3<>/dev/udp/{host}/53; printf '{QUESTION}' >&3; read -r -t 10 -N 1 -u 3"
        ));
        serve.join().unwrap();
        let told = [false, true].map(|is_answer| {
            watch.wait("dns", |event| match &event.body {
                EventBody::Dns(dns) if event.process.pid == pid && dns.is_answer == is_answer => {
                    Some(dns.as_ref().clone())
                }
                _ => None,
            })
        });
        let question = Dns {
            name: "cordon.example.net".to_owned(),
            query_type: "A".to_owned(),
            server: Some(server),
            ..Dns::default()
        };
        let answer = Dns {
            is_answer: true,
            addresses: vec!["203.0.113.9".parse().unwrap()],
            ..question.clone()
        };
        assert_eq!(told, [question, answer]);
        settle(watch);
        // On the whole host others may ask at this address too, each in a network namespace of its own.
        let is_dns = |event: &&cordon_sensor::Event| {
            let is_at = |dns: &Dns| dns.server == Some(server);
            [pid, own()].contains(&event.process.pid)
                && matches!(&event.body, EventBody::Dns(dns) if is_at(dns))
        };
        // The resolver's own packets are no questions of its own.
        assert_eq!(watch.seen.iter().filter(is_dns).count(), 2);
    }
}

fn open(family: AddressFamily, protocol: SockProtocol) -> OwnedFd {
    socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).unwrap()
}

/// raw_socket: raw sockets of both families, and packet sockets, also short ones where there is a hook.
fn raw_socket(watch: &mut Watch) {
    // Since Linux 6.14.
    let is_hooked = has_tracepoint("cap_capable");
    let row = watch.row("raw_socket");
    assert_eq!(row.source.contains("cap_capable"), is_hooked, "{row:?}");
    drop(open(AddressFamily::Inet, SockProtocol::Icmp));
    drop(open(AddressFamily::Inet6, SockProtocol::IcmpV6));
    let packet = open(AddressFamily::Packet, SockProtocol::EthAll);
    let _looked_for = (!is_hooked).then_some(packet);
    for wanted in [
        (SocketFamily::Raw4, 1),
        (SocketFamily::Raw6, 58),
        (SocketFamily::Packet, 3),
    ] {
        watch.wait("raw socket", |event| match event.body {
            EventBody::RawSocket { family, protocol } if (family, protocol) == wanted => {
                (event.process.pid == own()).then_some(())
            }
            _ => None,
        });
    }
}

/// Runs `test` of this program in namespaces of its own.
fn again(test: &str, scope: &str, unshare: &[&str]) {
    let status = Command::new("unshare")
        .arg("--net")
        .args(unshare)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(SCOPE, scope)
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn every_class_is_seen_on_the_host() {
    again("every_class", "host", &[]);
}

#[test]
fn every_class_is_seen_inside_a_pid_namespace() {
    let unshare = ["--pid", "--fork", "--mount-proc", "--kill-child"];
    again("every_class", "pidns", &unshare);
}

#[test]
fn every_class_is_seen_inside_a_cgroup() {
    let group = ChildGroup::new();
    again("every_class", group.0.to_str().unwrap(), &[]);
}

#[test]
#[ignore = "run by the tests above in namespaces of its own"]
fn every_class() {
    lo_up();
    let mut watch = Watch::start(scope(), Mode::Ebpf);
    for (class, row) in ROWS {
        assert!(watch.row(class).covered, "{:?}", watch.row(class));
        eprintln!("{class}");
        row(&mut watch);
        settle(&mut watch);
        assert!(watch.seen.iter().any(|event| event.class() == *class));
    }
    assert_eq!(watch.sensor.counters().lost, 0);
}

fn lo_up() {
    let status = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    assert!(status.unwrap().success());
}

/// As the outer half says; a cgroup's path also moves this process into it.
fn scope() -> Scope {
    match std::env::var(SCOPE).unwrap().as_str() {
        "host" => Scope::Host,
        "pidns" => Scope::PidNamespace,
        group => {
            let group = PathBuf::from(group);
            std::fs::write(group.join("cgroup.procs"), "0").unwrap();
            Scope::Cgroup(group)
        }
    }
}

/// A cgroup of this test's own, removed at its end.
struct ChildGroup(PathBuf);

impl ChildGroup {
    fn new() -> Self {
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
        let mut mounts = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>());
        let root = mounts.find(|mount| mount[2] == "cgroup2").unwrap()[1].to_owned();
        let path = Path::new(&root).join(mark("network"));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for ChildGroup {
    fn drop(&mut self) {
        // Who was in it has ended; a failure shows as a cgroup that stays, and the test has failed.
        if let Err(error) = std::fs::remove_dir(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

#[test]
fn sockets_that_were_there_before_are_told_once() {
    again("sockets_before", "host", &[]);
    let unshare = ["--pid", "--fork", "--mount-proc", "--kill-child"];
    again("sockets_before", "pidns", &unshare);
}

#[test]
#[ignore = "run by the test above in namespaces of its own"]
fn sockets_before() {
    lo_up();
    for host in LOOPBACKS {
        before(host);
    }
    raw_before();
    many_before();
}

/// More than one page of the iterator holds.
fn many_before() {
    let sockets: Vec<UdpSocket> = (0..600)
        .map(|_| UdpSocket::bind("127.0.0.1:0").unwrap())
        .collect();
    let mut watch = Watch::start(scope(), Mode::Ebpf);
    settle(&mut watch);
    for bound in sockets {
        let local = bound.local_addr().unwrap();
        let told = EventBody::Listen {
            local,
            protocol: Protocol::Udp,
        };
        assert_eq!(count(&watch, |body| *body == told), 1, "{local}");
    }
}

fn before(host: &str) {
    let listener = TcpListener::bind(at(host, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    let (mut server, peer) = listener.accept().unwrap();
    let bound = UdpSocket::bind(at(host, 0)).unwrap().local_addr().unwrap();
    let bound_socket = UdpSocket::bind(bound).unwrap();
    let connected = UdpSocket::bind(at(host, 0)).unwrap();
    connected.connect(bound).unwrap();
    let mut watch = Watch::start(scope(), Mode::Ebpf);
    settle(&mut watch);
    // All of them told before whatever happened after.
    let is_live =
        |event: &cordon_sensor::Event| support::exec_of(event).is_some_and(|exec| !exec.snapshot);
    let first_live = watch.seen.iter().position(is_live).unwrap();
    let is_own = |event: &&cordon_sensor::Event| event.process.pid == own();
    let told: Vec<&EventBody> = watch.seen[..first_live]
        .iter()
        .filter(is_own)
        .map(|event| &event.body)
        .collect();
    let tcp = EventBody::Listen {
        local: address,
        protocol: Protocol::Tcp,
    };
    let udp = EventBody::Listen {
        local: bound,
        protocol: Protocol::Udp,
    };
    let out = EventBody::Connect { remote: address };
    let peer_told = EventBody::Udp { remote: bound };
    for wanted in [&tcp, &udp, &out, &peer_told] {
        let times = told.iter().filter(|body| **body == wanted).count();
        assert_eq!(times, 1, "{wanted:?} in {told:?}");
        assert_eq!(count(&watch, |body| body == wanted), 1);
    }
    // The inbound end is nobody's connection.
    let inbound = EventBody::Connect { remote: peer };
    assert_eq!(count(&watch, |body| *body == inbound), 0);
    // Its owner is known from here on.
    client.write_all(b"12345").unwrap();
    server.read_exact(&mut [0; 5]).unwrap();
    drop(client);
    assert_eq!(server.read(&mut [0]).unwrap(), 0);
    drop(server);
    let told = closed(&mut watch, address, peer.port(), Direction::Out);
    assert_eq!((told.sent, told.received, told.lasted_ns), (5, 0, 0));
    let told = closed(&mut watch, peer, address.port(), Direction::In);
    assert_eq!((told.sent, told.received, told.lasted_ns), (0, 5, 0));
    bash(&format!("exec 3<>/dev/tcp/{host}/{}", address.port()));
    watch.wait("accept by a listener from before", |event| {
        match event.body {
            EventBody::Accept { local_port, .. } if local_port == address.port() => {
                (event.process.pid == own()).then_some(())
            }
            _ => None,
        }
    });
    drop(bound_socket);
}

fn raw_before() {
    let _raw = open(AddressFamily::Inet, SockProtocol::Icmp);
    let _packet = open(AddressFamily::Packet, SockProtocol::EthAll);
    let mut watch = Watch::start(scope(), Mode::Ebpf);
    settle(&mut watch);
    for wanted in [(SocketFamily::Raw4, 1), (SocketFamily::Packet, 3)] {
        let is_it = |body: &EventBody| matches!(body, EventBody::RawSocket { family, protocol } if (*family, *protocol) == wanted);
        assert_eq!(count(&watch, is_it), 1, "{wanted:?}");
    }
}
