/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Who changed a program that runs with its owner's or group's rights. fanotify tells of the change, but not
 * of the mode, and by the time that it is read the file may be gone.
 */
#include "common.h"

#define S_ISUID 04000
#define S_ISGID 02000
#define S_IXGRP 00010

/* Who changed which file: pid as the scope sees it, and inode number. */
struct set_id_key {
	__u32 pid;
	__u32 hole;
	__u64 inode;
};

/* When, of CLOCK_MONOTONIC. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct set_id_key);
	__type(value, __u64);
} set_ids SEC(".maps");

/* Runs on each change of any file: nearly all leave at the first comparison. */
static __always_inline int on_changed(const struct inode *inode)
{
	__u16 mode = inode->i_mode;
	bool runs_as_group = (mode & S_ISGID) && (mode & S_IXGRP);
	struct record_key process;
	struct set_id_key key;
	__u64 now;

	if ((mode & S_IFMT) != S_IFREG || !((mode & S_ISUID) || runs_as_group))
		return 0;
	key_of(&process, (void *)bpf_get_current_task());
	if (!process.pid)
		return 0;
	key.pid = process.pid;
	key.hole = 0;
	key.inode = inode->i_ino;
	now = bpf_ktime_get_ns();
	bpf_map_update_elem(&set_ids, &key, &now, BPF_ANY);
	return 0;
}

/*
 * fs/inode.c, inode_set_ctime_current(): trace_ctime_ns_xchg(inode, ...) and trace_ctime_xchg_skip(inode,
 * ...) where a file system has fine stamps, and trace_inode_set_ctime_to_ts(inode, ...) elsewhere; Linux
 * 6.13. chmod() comes there with the new mode in place.
 */
SEC("tp_btf/ctime_ns_xchg")
int BPF_PROG(on_ctime, struct inode *inode)
{
	return on_changed(inode);
}

SEC("tp_btf/ctime_xchg_skip")
int BPF_PROG(on_same_ctime, struct inode *inode)
{
	return on_changed(inode);
}

SEC("tp_btf/inode_set_ctime_to_ts")
int BPF_PROG(on_coarse_ctime, struct inode *inode)
{
	return on_changed(inode);
}
