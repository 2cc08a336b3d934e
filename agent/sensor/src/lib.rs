//! eBPF programs and /proc fallbacks that turn what the kernel does into events.
//!
//! [`Sensor::start`] attaches to the kernel on a thread of its own and hands each
//! [`Event`] to a callback, in the order of their time. Each hook, its kernel prototype and the
//! first kernel that has it:
//!
//! | hook | prototype | since | gives |
//! |---|---|---|---|
//! | `tp_btf/sched_process_exec` | `(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)` | 5.5 | exec |
//! | `tp_btf/sched_process_fork` | `(struct task_struct *parent, struct task_struct *child)` | 5.5 | fork |
//! | `tp_btf/sched_process_exit` | `(struct task_struct *p[, bool group_dead])` | 5.5 | exit |
//! | `tp_btf/signal_generate` | `(int sig, struct kernel_siginfo *info, struct task_struct *task, ..)` | 5.5 | stops of traced processes |
//! | `tp_btf/signal_generate` | the same | 5.5 | who sends the agent a signal |
//! | `tp_btf/module_load` | `(struct module *mod)` | 5.5 | modules |
//! | `tp_btf/inet_sock_set_state` | `(const struct sock *sk, const int oldstate, const int newstate)` | 5.5 | TCP: connect, listen, accept, close |
//! | `cgroup/sendmsg4`, `sendmsg6`, `connect4`, `connect6` | `(struct bpf_sock_addr *)` | 4.18 | UDP peers |
//! | `cgroup/post_bind4`, `post_bind6` | `(struct bpf_sock *)` | 4.17 | bound UDP sockets |
//! | `cgroup_skb/egress`, `cgroup_skb/ingress` | `(struct __sk_buff *)` | 4.10 | DNS, the first packet of connected UDP sockets |
//! | `cgroup/sock_create` | `(struct bpf_sock *)` | 4.10 | raw sockets |
//! | `tp_btf/cap_capable` | `(const struct cred *, struct user_namespace *target, const struct user_namespace *capable, int cap, int ret)` | 6.14 | packet sockets |
//! | `tp_btf/ctime_ns_xchg`, `ctime_xchg_skip`, `inode_set_ctime_to_ts` | `(struct inode *inode, ..)` | 6.13 | set-id files that are gone again |
//! | `iter/task_file` | `(struct bpf_iter_meta *meta, struct task_struct *task, u32 fd, struct file *file)` | 5.8 | sockets already there |
//! | socket storage from tracepoints | | 5.11 | whose a socket is |
//! | `tp_btf/cgroup_mkdir`, `_rmdir` | `(struct cgroup *cgrp, const char *path)` | 5.5 | cgroups |
//! | `iter/task` | `(struct bpf_iter_meta *meta, struct task_struct *task)` | 5.8 | processes already there |
//! | BPF ring buffer | | 5.8 | transport |
//! | program type `syscall` | | 5.14 | the end of a throttle, who the agent is |
//! | `bpf_loop` | | 5.17 | walking paths |
//! | perf side band | `PERF_RECORD_MMAP2`, `_NAMESPACES`, `_BPF_EVENT` | 5.1 | code made in memory, namespaces, BPF loads |
//! | fanotify | `FAN_MARK_MNTNS` | 6.15 | mounts |
//! | proc connector | `struct proc_event`, netlink `CN_IDX_PROC` | 2.6.15 | fallback for exec, fork, exit |
//!
//! So the eBPF mode needs Linux 5.17 with BTF (`bpf_loop`, for paths). Where it is refused the fallback reads the proc
//! connector, or polls `/proc` where that is out of reach too (inside a PID or network namespace);
//! [`Sensor::coverage`] says what is then not seen.
//!
//! Only this crate and `cordon-contain` may be `unsafe`.

mod cache;
mod cgroup_root;
mod changes;
mod clock;
mod connector;
mod coverage;
mod digests;
mod dns;
mod ebpf;
mod error;
mod facts;
mod files;
mod keys;
mod living;
mod logins;
mod memory;
mod mounts;
mod out;
mod pace;
mod proc;
mod record;
mod rights;
mod scope;
mod sensor;
mod sideband;
mod task;

pub use cache::CacheUse;
pub use clock::mono_ns;
pub use cordon_behavior::event::{Event, EventBody, Exec, ProcessKey};
pub use coverage::{CLASSES, Coverage};
pub use digests::{DigestLimits, Digests, NoDigest};
pub use dns::read as read_dns;
pub use ebpf::{ExecGate, ExecList, ListedAct, MOST_PATH_BYTES, MOST_PATHS, MOST_SIZES};
pub use ebpf::{Guard, SignalNote, Tampering, signals_left_at};
pub use error::SensorError;
pub use facts::owner_of;
pub use facts::{
    DatabaseError, PackageOwner, ReadAt, ndb_blobs, rpm_name, rpm_paths, sqlite_column,
};
pub use files::{FileNotice, MalformedNotice, NamedFile, file_notices};
pub use logins::{UTMP_BYTES, decode_utmp, parse_login_line};
pub use memory::share_one_arena;
pub use mounts::{MountNotice, NoticeError, decode_mount_notice, decode_statmount};
pub use record::{RecordError, decode};
pub use scope::Scope;
pub use sensor::{Counters, FilesConfig, LoginFiles, Mode, Sensor, SensorConfig};
pub use sideband::{NAMESPACE_KINDS, SideError, SideRecord, TaskNamespaces, decode_sideband};
