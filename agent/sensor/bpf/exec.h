/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* New program images. */
#include "image.h"
#include "environment.h"
#include "listed.h"
#include "throttle.h"

/* One buffer per CPU is enough: the kernel does not run a program again on a CPU while it runs there. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct exec_buffer);
} exec_buffers SEC(".maps");

/* What was executed, where that is not the image's own path; answers where the text ends. */
static __always_inline __u32 fill_name(struct exec_buffer *buffer, struct linux_binprm *bprm, __u32 at)
{
	const char *name = BPF_CORE_READ(bprm, filename);
	long bytes;

	/* Set to another string by binfmt_script and binfmt_misc. */
	if (BPF_CORE_READ(bprm, interp) != name)
		buffer->record.flags |= EXEC_SCRIPT;
	if (BPF_CORE_READ(bprm, fdpath))
		buffer->record.flags |= EXEC_BY_DESCRIPTOR;
	at &= TEXT_MASK;
	if (!(buffer->record.flags & (EXEC_SCRIPT | EXEC_BY_DESCRIPTOR)))
		return at;
	bytes = bpf_probe_read_kernel_str(buffer->text + at, PATH_BYTES, name);
	if (bytes <= 0 || bytes > PATH_BYTES)
		return at;
	buffer->record.name_bytes = bytes;
	return at + bytes;
}

/* Arguments of which a page is not in memory, for which this program cannot wait: up to there. */
static __always_inline __u32 read_pages(char *text, __u64 start, __u32 bytes)
{
	__u32 here = 4096 - (start & 4095);

	if (here >= bytes || here > ARGV_BYTES)
		return 0;
	return bpf_probe_read_user(text, here, (void *)start) ? 0 : here;
}

static __always_inline __u32 fill_argv(struct exec_buffer *buffer, struct task_struct *task, __u32 at)
{
	__u64 start = buffer->record.argv_at;
	__u64 bytes = BPF_CORE_READ(task, mm, arg_end) - start;

	if (bytes > ARGV_BYTES) {
		bytes = ARGV_BYTES;
		buffer->record.flags |= EXEC_ARGV_TRUNCATED;
	}
	at &= TEXT_MASK;
	if (bytes == 0)
		return at;
	if (bpf_probe_read_user(buffer->text + at, bytes, (void *)start)) {
		buffer->record.flags |= EXEC_ARGV_TRUNCATED;
		bytes = read_pages(buffer->text + at, start, bytes);
	}
	buffer->record.argv_bytes = bytes;
	return at + bytes;
}

/*
 * fs/exec.c, exec_binprm(): trace_sched_process_exec(current, old_pid, bprm), Linux 3.4; as tp_btf 5.5.
 * The new image, its stack with the arguments and its credentials are in place.
 */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	__u32 zero = 0;
	struct exec_buffer *buffer = bpf_map_lookup_elem(&exec_buffers, &zero);
	__u32 act = listed_act(), end;

	if (!buffer)
		return 0;
	head_of(&buffer->record.head, RECORD_EXEC, task);
	if (!buffer->record.head.process.pid)
		return 0;
	if (!act && throttled(RECORD_EXEC, buffer->record.head.cgroup_id))
		return 0;
	end = fill_image(buffer, task);
	/* No storm hides a program that must not run, and none that does is told twice. */
	if (act && !on_listed(buffer, act) &&
	    throttled(RECORD_EXEC, buffer->record.head.cgroup_id))
		return 0;
	end = fill_argv(buffer, task, fill_name(buffer, bprm, end));
	fill_environment(buffer, task, bprm);
	if (end > TEXT_BYTES)
		return 0;
	if (bpf_ringbuf_output(&ring, buffer, sizeof(struct exec_record) + end, wake_now())) {
		count_loss(RECORD_EXEC);
		/* Nobody will hear of it, so nobody would let it go on. This takes the SIGSTOP back. */
		if (buffer->record.flags & EXEC_HELD)
			bpf_send_signal(SIGCONT);
	}
	wake_late();
	return 0;
}
