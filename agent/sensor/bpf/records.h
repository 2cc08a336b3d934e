/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What crosses from the kernel to user space. src/record.rs mirrors this file; both sides assert the
 * sizes. Numbers are never reused.
 */
#ifndef CORDON_RECORDS_H
#define CORDON_RECORDS_H

enum record_kind {
	RECORD_EXEC = 1,
	RECORD_FORK = 2,
	RECORD_EXIT = 3,
	RECORD_CONNECT = 4,
	RECORD_CREDENTIAL = 5,
	RECORD_NAMESPACE = 6,
	RECORD_CGROUP = 7,
	RECORD_MODULE = 8,
	RECORD_PTRACE = 9,
	RECORD_LISTEN = 10,
	RECORD_ACCEPT = 11,
	RECORD_CLOSE = 12,
	RECORD_UDP = 13,
	RECORD_DNS = 14,
	RECORD_RAW_SOCKET = 15,
	RECORD_THROTTLE = 16,
	/* One past the last: the size of the loss counters. */
	RECORD_KINDS = 17,
};

enum stdio_kind {
	STDIO_UNKNOWN = 0,
	STDIO_TTY = 1,
	STDIO_NULL = 2,
	STDIO_PIPE = 3,
	STDIO_FILE = 4,
	STDIO_SOCKET = 5,
	STDIO_UNIX_SOCKET = 6,
	STDIO_CLOSED = 7,
	STDIO_OTHER = 8,
};

enum exec_flags {
	EXEC_TTY = 1 << 0,
	EXEC_DELETED = 1 << 1,
	EXEC_MEMFD = 1 << 2,
	EXEC_ARGV_TRUNCATED = 1 << 3,
	EXEC_EXE_TRUNCATED = 1 << 4,
	EXEC_CWD_TRUNCATED = 1 << 5,
	EXEC_SNAPSHOT = 1 << 6,
	/* Anybody may write the image or a directory above it. */
	EXEC_WRITABLE = 1 << 7,
	/* The name is that of a script: an interpreter runs it. */
	EXEC_SCRIPT = 1 << 8,
	/* The name is /dev/fd/NUMBER, with a path behind it unless the descriptor itself was executed. */
	EXEC_BY_DESCRIPTOR = 1 << 9,
	/* The snapshot found it in the middle of an exec. */
	EXEC_UNDER_WAY = 1 << 10,
	/* On the list of programs that must not run; it was killed, or stopped until user space has looked. */
	EXEC_LISTED = 1 << 11,
	EXEC_KILLED = 1 << 12,
	EXEC_HELD = 1 << 13,
};

enum namespace_kind {
	NAMESPACE_MNT = 1 << 0,
	NAMESPACE_PID = 1 << 1,
	NAMESPACE_NET = 1 << 2,
	NAMESPACE_USER = 1 << 3,
	NAMESPACE_UTS = 1 << 4,
	NAMESPACE_IPC = 1 << 5,
	NAMESPACE_CGROUP = 1 << 6,
	NAMESPACE_TIME = 1 << 7,
};

/* pid 0: outside the scope. */
struct record_key {
	__u32 pid;
	__u32 hole;
	__u64 start_ns;
};

struct record_head {
	__u32 kind;
	__u32 hole;
	__u64 mono_ns;
	struct record_key process;
	__u64 cgroup_id;
};

struct fork_record {
	struct record_head head;
	struct record_key child;
};

struct exit_record {
	struct record_head head;
	__u32 code;
	__u32 signal;
};

/*
 * A socket that connects, accepts, listens, has a UDP peer or is raw. Ports are in host order,
 * addresses in network order with IPv4 in the first four bytes.
 */
struct flow_record {
	struct record_head head;
	__u16 family;
	/* The other end's; of a listening socket its own. */
	__u16 port;
	__u16 local_port;
	/* IP protocol; of a packet socket the ethertype. */
	__u16 protocol;
	__u8 address[16];
};

#define CGROUP_PATH_BYTES 2048

/* Followed by nothing: the path is cut to path_bytes. head.process is who made or removed it. */
struct cgroup_record {
	struct record_head head;
	__u64 id;
	__u32 created;
	__u32 path_bytes;
	char path[CGROUP_PATH_BYTES];
};

/* head.cgroup_id is the cgroup; no process. */
struct throttle_record {
	struct record_head head;
	__u64 dropped;
	__u64 started;
};

/* From user space: a cgroup that is throttled, and what it had dropped when it was last looked at. */
struct throttle_check {
	__u64 cgroup;
	__u64 dropped;
};

struct close_record {
	struct flow_record flow;
	__u64 sent;
	__u64 received;
	/* 0: not known. */
	__u64 begun_ns;
	__u32 is_inbound;
	__u32 hole;
};

#define DNS_BYTES 512

struct dns_record {
	struct flow_record flow;
	__u32 bytes;
	__u32 hole;
	__u8 message[DNS_BYTES];
};

struct ptrace_record {
	struct record_head head;
	struct record_key target;
};

/* MODULE_NAME_LEN of a 64-bit kernel. */
#define MODULE_NAME_BYTES 56

struct module_record {
	struct record_head head;
	char name[MODULE_NAME_BYTES];
};

/* Longest file name with its NUL. */
#define NAME_BYTES 256
#define PATH_BYTES 1024
#define PATH_PARTS 24
#define ARGV_BYTES 4096
/*
 * Three paths and the arguments, rounded up: the verifier forgets comparisons but understands a mask, and
 * an offset below 4096 with 4096 bytes behind it always fits.
 */
#define TEXT_BYTES 8192
#define TEXT_MASK 4095

/*
 * Followed by exe_bytes, cwd_bytes, name_bytes and argv_bytes of text. A path is its names, leaf first,
 * each with a NUL: the kernel walks it upwards, and user space turns it round. The name is as it was
 * given to execve, and only there where it tells something (EXEC_SCRIPT, EXEC_BY_DESCRIPTOR).
 */
struct exec_record {
	struct record_head head;
	struct record_key parent;
	__u32 uid;
	__u32 euid;
	__u32 gid;
	__u32 egid;
	__u64 capabilities;
	/* 0xffffffff: none. */
	__u32 login_uid;
	__u32 session;
	__u64 inode;
	__u64 mtime_ns;
	__u64 size;
	/* Where the arguments lie in its memory: another place after each exec. */
	__u64 argv_at;
	/* As the kernel numbers devices: 12 bits major, 20 bits minor. */
	__u32 device;
	/* Bits of environment.h. */
	__u32 environment;
	__u8 stdio[3];
	/* Those that are not its parent's. */
	__u8 namespaces;
	__u16 flags;
	__u16 exe_bytes;
	__u16 cwd_bytes;
	__u16 name_bytes;
	__u16 argv_bytes;
	__u16 hole;
};

_Static_assert(sizeof(struct record_head) == 40, "record_head");
_Static_assert(sizeof(struct fork_record) == 56, "fork_record");
_Static_assert(sizeof(struct exit_record) == 48, "exit_record");
_Static_assert(sizeof(struct cgroup_record) == 56 + CGROUP_PATH_BYTES, "cgroup_record");
_Static_assert(sizeof(struct flow_record) == 64, "flow_record");
_Static_assert(sizeof(struct close_record) == 96, "close_record");
_Static_assert(sizeof(struct dns_record) == 584, "dns_record");
_Static_assert(sizeof(struct throttle_record) == 56, "throttle_record");
_Static_assert(sizeof(struct throttle_check) == 16, "throttle_check");
_Static_assert(sizeof(struct exec_record) == 144, "exec_record");
_Static_assert(sizeof(struct ptrace_record) == 56, "ptrace_record");
_Static_assert(sizeof(struct module_record) == 96, "module_record");

#endif
