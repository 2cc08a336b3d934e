/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Who sends the agent signals. What it is ended by it cannot tell itself, so it is noted here, before the signal is
 * there, in a table that may outlive it.
 */
#include "image.h"

#define SIGURG 23
#define SIGWINCH 28
#define SI_USER 0
#define SI_QUEUE -1
#define SI_TKILL -6
/* SEND_SIG_PRIV: want of memory, or a BPF program. */
#define FROM_KERNEL 1
/* A power of two. */
#define SIGNAL_NOTES 16
#define SIGNAL_EXE_BYTES 512

/* src/ebpf/guard.rs mirrors it. */
struct signal_note {
	/* From 1 on; 0: nothing was noted here. */
	__u64 number;
	__u64 mono_ns;
	struct record_key sender;
	__u32 uid;
	__u32 signal;
	__u32 is_kernel;
	__u32 exe_bytes;
	char name[16];
	/* Names from the leaf upwards, each with a NUL. */
	char exe[SIGNAL_EXE_BYTES];
};
_Static_assert(sizeof(struct signal_note) == 576, "signal_note");

/* Thread group of the agent as the first PID namespace numbers it; 0: not known yet. */
__u32 agent_tgid;
__u64 signals_noted;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SIGNAL_NOTES);
	__type(key, __u32);
	__type(value, struct signal_note);
} signal_notes SEC(".maps");

/* Not the buffer of on_exec, which may be interrupted by this. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct exec_buffer);
} signal_buffers SEC(".maps");

/* Run by the agent: whoever runs it is who is guarded. */
SEC("syscall")
int on_guard(void *context)
{
	agent_tgid = bpf_get_current_pid_tgid() >> 32;
	return 0;
}

static __always_inline void note_exe(struct signal_note *note, struct task_struct *sender)
{
	__u32 zero = 0, end;
	struct exec_buffer *buffer = bpf_map_lookup_elem(&signal_buffers, &zero);
	struct file *exe = BPF_CORE_READ(sender, mm, exe_file);

	note->exe_bytes = 0;
	if (!buffer || !exe)
		return;
	buffer->record.flags = 0;
	end = walk(buffer, 0, SIGNAL_EXE_BYTES, BPF_CORE_READ(exe, f_path.dentry),
		   BPF_CORE_READ(exe, f_path.mnt), BPF_CORE_READ(sender, fs), EXEC_EXE_TRUNCATED, false);
	if (buffer->record.flags || end > SIGNAL_EXE_BYTES)
		return;
	if (!bpf_probe_read_kernel(note->exe, SIGNAL_EXE_BYTES, buffer->text))
		note->exe_bytes = end;
}

/* Whether a process sent it, or the kernel ends the agent; not what timers and children send. */
static __always_inline bool is_sent(int sig, struct kernel_siginfo *info)
{
	unsigned long from = (unsigned long)info;
	int code;

	if (sig == SIGCHLD || sig == SIGCONT || sig == SIGURG || sig == SIGWINCH)
		return false;
	if (from < FIRST_SIGINFO)
		return from != FROM_KERNEL || sig == SIGKILL;
	code = BPF_CORE_READ(info, si_code);
	return code == SI_USER || code == SI_QUEUE || code == SI_TKILL;
}

/*
 * The tracepoint of privilege.h. Runs for each signal on the host, and leaves at the first comparison unless it is
 * the agent's.
 */
SEC("tp_btf/signal_generate")
int BPF_PROG(on_agent_signal, int sig, struct kernel_siginfo *info, struct task_struct *task)
{
	struct task_struct *sender;
	struct signal_note *note;
	__u64 number;
	__u32 index;

	if (!agent_tgid || (__u32)task->tgid != agent_tgid)
		return 0;
	sender = (void *)bpf_get_current_task();
	if ((__u32)BPF_CORE_READ(sender, tgid) == agent_tgid || !is_sent(sig, info))
		return 0;
	number = __sync_fetch_and_add(&signals_noted, 1) + 1;
	index = (number - 1) & (SIGNAL_NOTES - 1);
	note = bpf_map_lookup_elem(&signal_notes, &index);
	if (!note)
		return 0;
	note->mono_ns = bpf_ktime_get_ns();
	key_of(&note->sender, sender);
	note->uid = BPF_CORE_READ(sender, cred, uid.val);
	note->signal = sig;
	note->is_kernel = (unsigned long)info == FROM_KERNEL;
	bpf_get_current_comm(note->name, sizeof(note->name));
	note_exe(note, sender);
	/* Last: from now on it can be read. */
	__sync_lock_test_and_set(&note->number, number);
	return 0;
}
