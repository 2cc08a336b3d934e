/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Who made whom, and who ended. */
#include "throttle.h"

/*
 * kernel/fork.c, kernel_clone(): trace_sched_process_fork(current, p), Linux 2.6.28; as tp_btf 5.5.
 * The child has its pid and start time and does not run yet, so its own events come later.
 */
SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	struct fork_record *record;
	struct record_key child_key;

	if (BPF_CORE_READ(child, pid) != BPF_CORE_READ(child, tgid))
		return 0;
	key_of(&child_key, child);
	if (!child_key.pid || throttled(RECORD_FORK, cgroup_id_of(parent)))
		return 0;
	record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);
	if (!record) {
		count_loss(RECORD_FORK);
		return 0;
	}
	head_of(&record->head, RECORD_FORK, parent);
	record->child = child_key;
	submit_later(record);
	return 0;
}

/*
 * kernel/exit.c, do_exit(): trace_sched_process_exit(tsk), Linux 2.6.28; as tp_btf 5.5. 6.16 adds
 * group_dead, which older kernels refuse to hand out; the count of living threads says the same.
 */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *task)
{
	struct exit_record *record;
	struct record_key key;
	__u32 status;

	if (BPF_CORE_READ(task, signal, live.counter) != 0)
		return 0;
	key_of(&key, task);
	if (!key.pid || throttled(RECORD_EXIT, cgroup_id_of(task)))
		return 0;
	record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);
	if (!record) {
		count_loss(RECORD_EXIT);
		return 0;
	}
	head_of(&record->head, RECORD_EXIT, task);
	status = BPF_CORE_READ(task, signal, group_exit_code);
	if (!status)
		status = BPF_CORE_READ(task, exit_code);
	record->code = (status >> 8) & 0xff;
	record->signal = status & 0x7f;
	submit_later(record);
	return 0;
}
