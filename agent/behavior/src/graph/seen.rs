//! What a process does between its beginning and its end, class by class.

use super::doings::{Fact, FileDone, LoginSeen, Name, most_flows};
use super::flow::{Flow, Rhythm};
use super::kept::Added;
use super::{Behavior, Doings};
use crate::event::{
    Credentials, Dns, Event, EventBody, FileChange, FileOp, FileRates, Login, Namespaces,
    ProcessKey, Sensitivity,
};
use crate::story::Raised;

/// How far up a tree the changes to files are summed.
const TREE_HOPS: usize = 4;
/// A rhythm is told of when it is this steady, and again each time that it has twice the beats.
const STEADY: f64 = 0.35;

impl Behavior {
    /// Whose story the event made worth judging.
    pub(super) fn saw(&mut self, event: &Event) -> Vec<ProcessKey> {
        let Some(process) = self.doer(event) else {
            return Vec::new();
        };
        let at = event.mono_ns;
        match &event.body {
            EventBody::Connect { remote } => self.flow(process, Flow::out(at, *remote)),
            EventBody::Accept { remote, local_port } => {
                self.flow(process, Flow::into(at, *remote, *local_port))
            }
            EventBody::Close(end) => self.flow(process, Flow::closed(at, end)),
            EventBody::Udp { remote } => self.flow(process, Flow::udp(at, *remote)),
            EventBody::Listen { local, protocol } => {
                self.flow(process, Flow::listen(at, *local, *protocol))
            }
            EventBody::Dns(dns) => self.asked(process, at, dns),
            EventBody::File(change) => self.file(process, at, change),
            EventBody::FileRates(rates) => self.file_rates(process, at, rates),
            EventBody::Credential(credentials) => self.credential(process, at, credentials),
            EventBody::Namespace { changed } => self.namespaces(process, *changed),
            EventBody::Ptrace { target } => self.ptrace(process, at, *target),
            EventBody::Login(login) => self.login(process, at, login),
            _ => match fact(&event.body) {
                Some((fact, is_telling)) => self.fact(process, at, fact, is_telling),
                None => Vec::new(),
            },
        }
    }

    /// The process that an event is kept with. A source that knows a pid only means who has it now;
    /// who is not known at all is nobody, unless the event has a whole key.
    fn doer(&mut self, event: &Event) -> Option<ProcessKey> {
        let process = event.process;
        if self.nodes.contains_key(&process) {
            return Some(process);
        }
        let living = self.living(process.pid).filter(|_| process.start_ns == 0);
        let is_whole = process.pid != 0 && process.start_ns != 0;
        match (&event.body, living) {
            (_, Some(living)) => Some(living),
            (EventBody::Login(login), None) => {
                let most = self.limits.logins;
                self.logins.add(event.mono_ns, LoginSeen::new(login), most);
                None
            }
            // These are not of any process.
            (EventBody::Cgroup { .. } | EventBody::Throttle { .. } | EventBody::Loss { .. }, _) => {
                None
            }
            // These may be told after its end: who was forgotten does not live again by them.
            (EventBody::Close(_) | EventBody::FileRates(_), None) => None,
            (_, None) if is_whole => {
                self.ensure(process, None);
                Some(process)
            }
            (_, None) => None,
        }
    }

    fn flow(&mut self, process: ProcessKey, flow: Flow) -> Vec<ProcessKey> {
        let added = self.with_doings(process, |doings, limits| {
            let most = most_flows(&flow, limits);
            doings.flows.add(flow.first_ns(), flow, most)
        });
        if flow.is_local() || !flow.is_outbound() {
            return Vec::new();
        }
        match added {
            Some(Added::New) if flow.is_outbound_tcp() => self.kin_worth_judging(process),
            Some(Added::New) => self.interpreters_near(process),
            Some(Added::Known) if self.is_new_rhythm(process, &flow) => {
                self.kin_worth_judging(process)
            }
            _ => Vec::new(),
        }
    }

    fn is_new_rhythm(&self, process: ProcessKey, flow: &Flow) -> bool {
        let known = self
            .doings(process)
            .and_then(|doings| doings.flows.find(flow));
        known.and_then(Flow::rhythm).is_some_and(|rhythm| {
            let Rhythm {
                times, variation, ..
            } = rhythm;
            let is_step =
                times % super::flow::RHYTHM == 0 && (times / super::flow::RHYTHM).is_power_of_two();
            is_step && variation <= STEADY
        })
    }

    fn asked(&mut self, process: ProcessKey, at: u64, dns: &Dns) -> Vec<ProcessKey> {
        let name = Name::new(&dns.name);
        if name.0.is_empty() {
            return Vec::new();
        }
        let add = |doings: &mut Doings, most| doings.names.add(at, name, most);
        match self.with_doings(process, |doings, limits| add(doings, limits.names)) {
            Some(Added::New) => self.interpreters_near(process),
            _ => Vec::new(),
        }
    }

    fn file(&mut self, process: ProcessKey, at: u64, change: &FileChange) -> Vec<ProcessKey> {
        let is_telling = change.op != FileOp::Read || change.sensitivity != Sensitivity::Watched;
        let done = FileDone::new(change);
        let add = |doings: &mut Doings, most| doings.files.add(at, done, most);
        match self.with_doings(process, |doings, limits| add(doings, limits.files)) {
            Some(Added::New) if is_telling => self.kin_worth_judging(process),
            _ => Vec::new(),
        }
    }

    /// Of a loop in a shell each child changes one file: the sum is the shell's.
    fn file_rates(&mut self, process: ProcessKey, at: u64, report: &FileRates) -> Vec<ProcessKey> {
        let mut worth_judging = Vec::new();
        let tree = self.tree_root(process);
        let mut next = Some(process);
        for _ in 0..=TREE_HOPS {
            let Some(key) = next.filter(|key| self.tree_root(*key) == tree) else {
                break;
            };
            let grew = self.with_doings(key, |doings, _| {
                doings.rates.add(at, report);
                doings.rates.grew()
            });
            if grew == Some(true) && (key == process || self.is_interpreter(key)) {
                worth_judging.push(key);
            }
            next = self.parent(key);
        }
        worth_judging
    }

    fn credential(&mut self, process: ProcessKey, at: u64, new: &Credentials) -> Vec<ProcessKey> {
        let raised = new.old_euid.filter(|old| *old != 0 && new.euid == 0);
        let gained = match (new.old_capabilities, new.capabilities) {
            (Some(old), Some(new)) => new & !old,
            _ => 0,
        };
        if raised.is_none() && gained == 0 {
            return Vec::new();
        }
        let is_new = self.with_doings(process, |doings, _| {
            let is_new =
                raised.is_some() && doings.raised.is_none() || gained & !doings.gained != 0;
            let first = doings.raised.map_or(u64::MAX, |(first, _)| first);
            if let Some(from) = raised.filter(|_| at < first) {
                doings.raised = Some((at, Raised { from, to: new.euid }));
            }
            doings.gained |= gained;
            is_new
        });
        only_if(is_new == Some(true), process)
    }

    fn namespaces(&mut self, process: ProcessKey, changed: Namespaces) -> Vec<ProcessKey> {
        let is_new = self.with_doings(process, |doings, _| {
            let before = doings.namespaces;
            doings.namespaces = before.union(changed);
            doings.namespaces != before
        });
        only_if(is_new == Some(true), process)
    }

    /// A debugger's own child is its business; anybody else's process is not.
    fn ptrace(&mut self, process: ProcessKey, at: u64, target: ProcessKey) -> Vec<ProcessKey> {
        let image = self.nodes.get(&target).and_then(|node| node.image.as_ref());
        let fact = Fact::ptraced(image.map_or("", |image| image.exe.as_str()));
        let mut above = Some(target);
        let is_own = (0..=TREE_HOPS).any(|_| {
            above = above.and_then(|key| self.parent(key));
            above == Some(process)
        });
        self.fact(process, at, fact, !is_own && target != process)
    }

    /// The shell that it leads to is judged when it is executed.
    fn login(&mut self, process: ProcessKey, at: u64, login: &Login) -> Vec<ProcessKey> {
        self.has_logins = true;
        self.fact(process, at, Fact::Login(LoginSeen::new(login)), false)
    }

    fn fact(
        &mut self,
        process: ProcessKey,
        at: u64,
        fact: Fact,
        is_telling: bool,
    ) -> Vec<ProcessKey> {
        let add = |doings: &mut Doings, most| doings.facts.add(at, fact, most);
        let added = self.with_doings(process, |doings, limits| add(doings, limits.facts));
        only_if(is_telling && added == Some(Added::New), process)
    }
}

fn only_if(is_worth: bool, process: ProcessKey) -> Vec<ProcessKey> {
    if is_worth { vec![process] } else { Vec::new() }
}

/// The plain ones, and whether they are worth judging: what is mounted is told when something else
/// is.
fn fact(body: &EventBody) -> Option<(Fact, bool)> {
    Some(match body {
        EventBody::ExecutableMemory { path, .. } => (Fact::executable_memory(path), true),
        EventBody::Module { name } => (Fact::module(name), true),
        EventBody::Bpf {
            name, program_type, ..
        } => (Fact::bpf(program_type, name), true),
        EventBody::RawSocket { family, .. } => (Fact::RawSocket(*family), true),
        EventBody::Mount {
            path,
            attached,
            fs_type,
        } => (Fact::mount(path, *attached, fs_type), false),
        _ => return None,
    })
}
