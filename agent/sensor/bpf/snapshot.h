/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The processes that were there before the sensor. */
#include "image.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct exec_buffer);
} snapshot_buffers SEC(".maps");

/* Made, but fork has not told of it: the live stream will. include/linux/sched.h, Linux 4.8. */
#define TASK_NEW 0x00000800

/*
 * kernel/bpf/task_iter.c: bpf_iter__task { meta, task }, Linux 5.8. Arguments are left to user space:
 * they may be paged out, and this program cannot wait.
 */
SEC("iter/task")
int on_task(struct bpf_iter__task *context)
{
	struct task_struct *task = context->task;
	__u32 zero = 0, end;
	struct exec_buffer *buffer;

	if (!task || task->pid != task->tgid || (task->flags & PF_KTHREAD))
		return 0;
	if (task->__state & TASK_NEW)
		return 0;
	buffer = bpf_map_lookup_elem(&snapshot_buffers, &zero);
	if (!buffer)
		return 0;
	head_of(&buffer->record.head, RECORD_EXEC, task);
	/* A zombie runs nothing. */
	if (!buffer->record.head.process.pid || !BPF_CORE_READ(task, mm))
		return 0;
	end = fill_image(buffer, task);
	if (end > 2 * PATH_BYTES)
		return 0;
	buffer->record.flags |= EXEC_SNAPSHOT;
	/* Its image may be the old or the new one, and the live stream will tell of the new. */
	if (bpf_core_field_exists(task->in_execve) && BPF_CORE_READ_BITFIELD_PROBED(task, in_execve))
		buffer->record.flags |= EXEC_UNDER_WAY;
	bpf_seq_write(context->meta->seq, buffer, sizeof(struct exec_record) + end);
	return 0;
}
