/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Cgroups that come and go: what the ids in other records are called. */
#include "common.h"

/* The only hierarchy of cgroup v2; those of v1 have others. */
#define DEFAULT_HIERARCHY 0

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cgroup_record);
} cgroup_buffers SEC(".maps");

static __always_inline int tell_cgroup(struct cgroup *cgroup, const char *path, bool created)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct cgroup_record *record;
	__u32 zero = 0;
	long bytes;

	if (BPF_CORE_READ(cgroup, root, hierarchy_id) != DEFAULT_HIERARCHY)
		return 0;
	/*
	 * A process may make a cgroup in a scope that it is not itself in. `self.cgroup` is the cgroup
	 * again, as a number.
	 */
	if (scope_cgroup && !in_cgroup_scope((__u64)BPF_CORE_READ(cgroup, self.cgroup)))
		return 0;
	record = bpf_map_lookup_elem(&cgroup_buffers, &zero);
	if (!record)
		return 0;
	head_of(&record->head, RECORD_CGROUP, task);
	if (scope_pid_ns && !record->head.process.pid)
		return 0;
	record->id = BPF_CORE_READ(cgroup, kn, id);
	record->created = created;
	bytes = bpf_probe_read_kernel_str(record->path, sizeof(record->path), path);
	record->path_bytes = bytes > 0 && bytes <= sizeof(record->path) ? bytes - 1 : 0;
	bytes = __builtin_offsetof(struct cgroup_record, path) + record->path_bytes;
	if (bytes > sizeof(*record))
		return 0;
	/* It comes before the first event of a process in it in any case: nobody waits for it. */
	if (bpf_ringbuf_output(&ring, record, bytes, BPF_RB_NO_WAKEUP))
		count_loss(RECORD_CGROUP);
	return 0;
}

/* kernel/cgroup/cgroup.c, cgroup_mkdir(): trace_cgroup_mkdir(cgrp, path), Linux 4.12; as tp_btf 5.5. */
SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(on_cgroup_made, struct cgroup *cgroup, const char *path)
{
	return tell_cgroup(cgroup, path, true);
}

/* kernel/cgroup/cgroup.c, cgroup_rmdir(): trace_cgroup_rmdir(cgrp, path), Linux 4.12; as tp_btf 5.5. */
SEC("tp_btf/cgroup_rmdir")
int BPF_PROG(on_cgroup_removed, struct cgroup *cgroup, const char *path)
{
	return tell_cgroup(cgroup, path, false);
}
