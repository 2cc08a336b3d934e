/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Who traces whom, and modules. */
#include "throttle.h"

#define SIGCHLD 17
/* Below it there is no siginfo: SEND_SIG_NOINFO, SEND_SIG_PRIV. */
#define FIRST_SIGINFO 2
#define CLD_TRAPPED 4

struct pair {
	__u64 target_start_ns;
	__u64 tracer_start_ns;
};

/* Pairs that were told: a tracer hears of each stop of its target, of thousands a second. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct pair);
	__type(value, __u8);
} traced SEC(".maps");

static __always_inline bool is_traced(const struct record_key *target, const struct record_key *tracer)
{
	struct pair pair = {
		.target_start_ns = target->start_ns,
		.tracer_start_ns = tracer->start_ns,
	};
	__u8 yes = 1;

	if (bpf_map_lookup_elem(&traced, &pair))
		return true;
	bpf_map_update_elem(&traced, &pair, &yes, BPF_ANY);
	return false;
}

/*
 * kernel/signal.c, __send_signal_locked(): trace_signal_generate(sig, info, task, group, result),
 * Linux 2.6.33; as tp_btf 5.5. A traced process that stops tells its tracer: here `task` is the tracer
 * and the current task is the one that stopped. No tracepoint tells of the ptrace call itself.
 */
SEC("tp_btf/signal_generate")
int BPF_PROG(on_signal, int sig, struct kernel_siginfo *info, struct task_struct *task)
{
	struct record_key target, tracer;
	struct ptrace_record *record;

	if (sig != SIGCHLD || (unsigned long)info < FIRST_SIGINFO)
		return 0;
	if (BPF_CORE_READ(info, si_code) != CLD_TRAPPED)
		return 0;
	key_of(&target, (void *)bpf_get_current_task());
	key_of(&tracer, task);
	if (!target.pid || !tracer.pid || is_traced(&target, &tracer) ||
	    throttled(RECORD_PTRACE, cgroup_id_of(task)))
		return 0;
	record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);
	if (!record) {
		count_loss(RECORD_PTRACE);
		return 0;
	}
	head_of(&record->head, RECORD_PTRACE, task);
	record->target = target;
	submit_now(record);
	return 0;
}

/*
 * kernel/module/main.c, load_module(): trace_module_load(mod), Linux 2.6.33; as tp_btf 5.5. In the
 * context of who loads it, before the module's own code runs. Kernels without CONFIG_MODULES lack it.
 */
SEC("tp_btf/module_load")
int BPF_PROG(on_module, struct module *module)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct module_record *record;
	struct record_key key;

	key_of(&key, task);
	if (!key.pid || throttled(RECORD_MODULE, cgroup_id_of(task)))
		return 0;
	record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);
	if (!record) {
		count_loss(RECORD_MODULE);
		return 0;
	}
	head_of(&record->head, RECORD_MODULE, task);
	record->name[0] = 0;
	bpf_probe_read_kernel_str(record->name, sizeof(record->name), module->name);
	submit_now(record);
	return 0;
}
