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

struct connect_record {
	struct record_head head;
	__u16 family;
	/* Host order. */
	__u16 port;
	__u32 hole;
	/* Network order; IPv4 in the first four. */
	__u8 address[16];
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

/* Longest file name with its NUL. */
#define NAME_BYTES 256
#define PATH_BYTES 1024
#define PATH_PARTS 24
#define ARGV_BYTES 4096
/*
 * Two paths and the arguments, rounded up: the verifier forgets comparisons but understands a mask, and
 * an offset below 4096 with 4096 bytes behind it always fits.
 */
#define TEXT_BYTES 8192
#define TEXT_MASK 4095

/*
 * Followed by exe_bytes, cwd_bytes and argv_bytes of text. A path is its names, leaf first, each with
 * a NUL: the kernel walks it upwards, and user space turns it round.
 */
struct exec_record {
	struct record_head head;
	struct record_key parent;
	__u32 uid;
	__u32 euid;
	__u8 stdio[3];
	__u8 flags;
	__u16 exe_bytes;
	__u16 cwd_bytes;
	__u16 argv_bytes;
	__u16 hole[3];
};

struct exec_buffer {
	struct exec_record record;
	char text[TEXT_BYTES];
};

_Static_assert(sizeof(struct record_head) == 40, "record_head");
_Static_assert(sizeof(struct fork_record) == 56, "fork_record");
_Static_assert(sizeof(struct exit_record) == 48, "exit_record");
_Static_assert(sizeof(struct connect_record) == 64, "connect_record");
_Static_assert(sizeof(struct throttle_record) == 56, "throttle_record");
_Static_assert(sizeof(struct throttle_check) == 16, "throttle_check");
_Static_assert(sizeof(struct exec_record) == 80, "exec_record");

#endif
