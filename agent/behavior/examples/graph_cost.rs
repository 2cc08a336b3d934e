//! What an exec costs from event to story, and what a process weighs. Prints; run it by hand:
//! `cargo run -p cordon-behavior --example graph_cost`.
#![expect(clippy::print_stdout, reason = "the numbers are what it is for")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set up its case has failed"
)]

use std::hint::black_box;
use std::net::SocketAddr;

use cordon_behavior::event::{
    Dns, Event, EventBody, Exec, FileChange, FileOp, Login, ProcessKey, Protocol, Sensitivity,
};
use cordon_behavior::story::StdioKind;
use cordon_behavior::{Behavior, Limits};

const ROUNDS: u64 = 15;
const PROCESSES: u64 = 20_000;

fn event(mono_ns: u64, process: ProcessKey, body: EventBody) -> Event {
    Event {
        mono_ns,
        wall_ns: 0,
        process,
        cgroup_id: 0,
        container: None,
        body,
    }
}

fn exec(parent: ProcessKey, exe: &str, argv: &[&str]) -> EventBody {
    EventBody::Exec(Box::new(Exec {
        parent: Some(parent),
        exe: exe.to_owned(),
        argv: argv.iter().map(|&one| one.to_owned()).collect(),
        cwd: "/home/ann/work/project".to_owned(),
        stdio: [StdioKind::Pipe; 3],
        ..Exec::default()
    }))
}

/// A build as a sensor sees it: make's shells, each of which runs a compiler.
fn events() -> Vec<Event> {
    let (make, mut now) = (
        ProcessKey {
            pid: 50,
            start_ns: 1,
        },
        10,
    );
    let init = ProcessKey {
        pid: 1,
        start_ns: 0,
    };
    let mut events = vec![event(
        1,
        make,
        exec(init, "/usr/bin/make", &["make", "-j8"]),
    )];
    for index in 0..PROCESSES / 2 {
        let key = |pid, start_ns| ProcessKey { pid, start_ns };
        let shell = key(100 + (index % 15_000) as u32 * 2, now);
        let compiler = key(shell.pid + 1, now + 1);
        let command = "cc -O2 -Wall -Iinclude -c -o build/module.o src/module.c";
        let words: Vec<&str> = command.split(' ').collect();
        events.extend([
            event(now, make, EventBody::Fork { child: shell }),
            event(
                now,
                shell,
                exec(make, "/usr/bin/dash", &["/bin/sh", "-c", command]),
            ),
            event(now + 1, shell, EventBody::Fork { child: compiler }),
            event(
                now + 1,
                compiler,
                exec(shell, "/usr/bin/x86_64-linux-gnu-gcc-12", &words),
            ),
            event(now + 2, compiler, EventBody::Exit { code: 0, signal: 0 }),
            event(now + 3, shell, EventBody::Exit { code: 0, signal: 0 }),
        ]);
        now += 10_000;
    }
    events
}

/// Nanoseconds that this thread has run: other work on the machine does not count.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

fn main() {
    what_an_exec_costs();
}

fn what_an_exec_costs() {
    let events = events();
    let mut best = [u64::MAX; 2];
    for _ in 0..ROUNDS {
        for (with_story, best) in best.iter_mut().enumerate() {
            let mut graph = Behavior::new(Limits::default());
            let began = cpu_ns();
            for event in &events {
                for trigger in graph.apply(event) {
                    if with_story == 1 {
                        black_box(graph.story(trigger.process));
                    }
                }
            }
            *best = (*best).min(cpu_ns() - began);
        }
    }
    let each = |nanos: u64| nanos / PROCESSES;
    println!("apply, a process (fork, exec, exit): {} ns", each(best[0]));
    println!("with its story: {} ns", each(best[1]));
    weigh(&events);
}

/// With room for all of them, nothing of which is forgotten.
fn weigh(events: &[Event]) {
    let limits = Limits {
        bytes: 1 << 30,
        ..Limits::default()
    };
    let mut graph = Behavior::new(limits);
    for event in events {
        graph.apply(event);
    }
    let each = graph.bytes() / graph.len();
    println!("{} processes, {each} bytes each", graph.len());
    let one = graph.bytes();
    for index in 0..1000 {
        for body in everything(index) {
            graph.apply(&event(
                u64::from(index),
                ProcessKey {
                    pid: 50,
                    start_ns: 1,
                },
                body,
            ));
        }
    }
    println!(
        "all lists of one process full: {} bytes more",
        graph.bytes() - one
    );
}

/// As long as it may be, and never the same twice.
fn everything(index: u16) -> Vec<EventBody> {
    let long = format!("{index:04}{}", "x".repeat(600));
    let flow = |address: [u8; 4]| SocketAddr::from((address, index));
    let (remote, local) = (flow([203, 0, 113, 9]), flow([127, 0, 0, 1]));
    let file = |sensitivity| FileChange {
        op: FileOp::Rename,
        path: long.clone(),
        to: Some(long.clone()),
        sensitivity,
    };
    let (protocol, name) = (Protocol::Tcp, long.clone());
    vec![
        EventBody::Connect { remote },
        EventBody::Connect { remote: local },
        EventBody::Udp { remote },
        EventBody::Udp { remote: local },
        EventBody::Accept {
            remote,
            local_port: index,
        },
        EventBody::Accept {
            remote: local,
            local_port: index,
        },
        EventBody::Listen {
            local: remote,
            protocol,
        },
        EventBody::Listen { local, protocol },
        EventBody::Dns(Box::new(Dns {
            name,
            ..Dns::default()
        })),
        EventBody::File(Box::new(file(Sensitivity::Watched))),
        EventBody::Module { name: long.clone() },
        EventBody::Bpf {
            id: 1,
            name: long.clone(),
            program_type: String::new(),
        },
        EventBody::ExecutableMemory {
            path: long.clone(),
            writable: true,
        },
        EventBody::Mount {
            path: long.clone(),
            attached: true,
            fs_type: long.clone(),
        },
        EventBody::Login(Box::new(Login {
            user: long.clone(),
            from: long,
            ..Login::default()
        })),
    ]
}
