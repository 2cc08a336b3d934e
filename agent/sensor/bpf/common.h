/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The ring, the loss counters, and who is in scope. */
#ifndef CORDON_COMMON_H
#define CORDON_COMMON_H

#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include "records.h"

#define PF_KTHREAD 0x00200000
/* Deepest nesting of PID namespaces (MAX_PID_NS_LEVEL). */
#define PID_LEVELS 33
#define CGROUP_LEVELS 24

/* Inode of the PID namespace in scope; 0: every process, with its pid in the first namespace. */
const volatile __u32 scope_pid_ns = 0;
/* Id of the cgroup in scope, its descendants included; 0: all. */
const volatile __u64 scope_cgroup = 0;
/* Unread bytes at which events that nobody waits for wake the reader too. */
const volatile __u64 wake_bytes = 65536;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 * 1024 * 1024);
} ring SEC(".maps");

/*
 * What user space reads and writes without a system call: these lie in .bss, which it maps.
 * reader_sleeps: set by the reader before it sleeps, cleared by who wakes it.
 */
__u32 reader_sleeps;
/* Records that found the ring full, by kind. */
__u64 losses[RECORD_KINDS];

/* `kind` is a constant wherever this is called. */
static __always_inline void count_loss(__u32 kind)
{
	__sync_fetch_and_add(&losses[kind], 1);
}

/* How to submit what somebody waits for: a reader that is awake finds it by itself. */
static __always_inline __u64 wake_now(void)
{
	if (!reader_sleeps)
		return BPF_RB_NO_WAKEUP;
	reader_sleeps = 0;
	return BPF_RB_FORCE_WAKEUP;
}

/*
 * The reader may have gone to sleep between wake_now() and the commit, without seeing the record. The
 * commit is a full barrier, so either this sees the flag or the reader has seen the record. A record
 * that is thrown away is the only way to wake it for one that is committed already.
 */
static __always_inline void wake_late(void)
{
	void *token;

	if (!reader_sleeps)
		return;
	token = bpf_ringbuf_reserve(&ring, 8, 0);
	if (!token)
		return;
	reader_sleeps = 0;
	bpf_ringbuf_discard(token, BPF_RB_FORCE_WAKEUP);
}

/* Submits what somebody waits for. */
static __always_inline void submit_now(void *record)
{
	bpf_ringbuf_submit(record, wake_now());
	wake_late();
}

/*
 * Submits what waits for the next urgent record or time-out of the reader, unless such records pile
 * up: nothing is decided on forks and exits, and a wake-up each would double the cost of a short
 * process.
 */
static __always_inline void submit_later(void *record)
{
	__u64 how = BPF_RB_NO_WAKEUP;

	if (reader_sleeps && bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) > wake_bytes)
		how = wake_now();
	bpf_ringbuf_submit(record, how);
}

/*
 * Functions that are not static are checked by the verifier once, not at each call and for each state
 * of the caller: that keeps loading cheap. Their arguments are numbers: addresses that were read, not
 * pointers that the verifier knows, such as the task that a tracepoint hands over.
 */
#define CHECKED_ONCE __attribute__((noinline))

static __always_inline __u64 start_of(struct task_struct *leader)
{
	if (bpf_core_field_exists(leader->start_boottime))
		return BPF_CORE_READ(leader, start_boottime);
	return BPF_CORE_READ((struct task_struct___old *)leader, real_start_time);
}

/* Pid of a thread group as the scope sees it; 0 when it is not in the scope's namespace. */
CHECKED_ONCE __u32 pid_of(__u64 leader_at)
{
	struct task_struct *leader = (void *)leader_at;
	struct pid *pid;
	__u32 level;

	if (!scope_pid_ns)
		return BPF_CORE_READ(leader, pid);
	pid = BPF_CORE_READ(leader, thread_pid);
	if (!pid)
		return 0;
	level = BPF_CORE_READ(pid, level);
	/* Innermost first: the scope is seldom more than one container away. */
	for (__u32 i = 0; i < PID_LEVELS && i <= level; i++) {
		struct upid *at = (void *)pid + bpf_core_field_offset(struct pid, numbers) +
				  (level - i) * bpf_core_type_size(struct upid);
		if (BPF_CORE_READ(at, ns, ns.inum) == scope_pid_ns)
			return BPF_CORE_READ(at, nr);
	}
	return 0;
}

static __always_inline struct cgroup *cgroup_of(struct task_struct *task)
{
	return BPF_CORE_READ(task, cgroups, dfl_cgrp);
}

static __always_inline __u64 cgroup_id_of(struct task_struct *task)
{
	return BPF_CORE_READ(cgroup_of(task), kn, id);
}

static __always_inline __u64 ancestor_id(struct cgroup *cgroup, __u32 level)
{
	__u64 id = 0;

	if (bpf_core_field_exists(cgroup->ancestors)) {
		struct cgroup *ancestor = NULL;

		bpf_probe_read_kernel(&ancestor, sizeof(ancestor),
				      (void *)cgroup + bpf_core_field_offset(struct cgroup, ancestors) +
					      level * sizeof(ancestor));
		return BPF_CORE_READ(ancestor, kn, id);
	}
	bpf_probe_read_kernel(&id, sizeof(id),
			      (void *)cgroup +
				      bpf_core_field_offset(struct cgroup___ids, ancestor_ids) +
				      level * sizeof(id));
	return id;
}

CHECKED_ONCE bool in_cgroup_scope(__u64 cgroup_at)
{
	struct cgroup *cgroup = (void *)cgroup_at;
	__u32 level = BPF_CORE_READ(cgroup, level);

	for (__u32 i = 0; i < CGROUP_LEVELS && i <= level; i++) {
		if (ancestor_id(cgroup, i) == scope_cgroup)
			return true;
	}
	return false;
}

/* The key of the thread group that a task belongs to; pid 0 when it is outside the scope. */
static __always_inline void key_of(struct record_key *key, struct task_struct *task)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);

	key->hole = 0;
	key->pid = 0;
	if (!scope_cgroup || in_cgroup_scope((__u64)cgroup_of(task)))
		key->pid = pid_of((__u64)leader);
	key->start_ns = key->pid ? start_of(leader) : 0;
}

static __always_inline void head_of(struct record_head *head, __u32 kind, struct task_struct *task)
{
	head->kind = kind;
	head->hole = 0;
	head->mono_ns = bpf_ktime_get_ns();
	head->cgroup_id = cgroup_id_of(task);
	key_of(&head->process, task);
}

#endif
