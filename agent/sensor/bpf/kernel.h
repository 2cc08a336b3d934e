/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The few kernel types that the programs read, written by hand. Only names and nesting matter:
 * libbpf looks the offsets up in the running kernel's BTF (CO-RE), so one object runs everywhere.
 */
#ifndef CORDON_KERNEL_H
#define CORDON_KERNEL_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;
typedef _Bool bool;
enum { false = 0, true = 1 };

#define NULL ((void *)0)

enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_SK_STORAGE = 24,
	BPF_MAP_TYPE_RINGBUF = 27,
};
enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
};
enum {
	BPF_F_NO_PREALLOC = 1,
};
enum {
	BPF_RB_NO_WAKEUP = 1,
	BPF_RB_FORCE_WAKEUP = 2,
	BPF_RB_AVAIL_DATA = 0,
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct task_struct;

struct ns_common {
	unsigned int inum;
};
struct pid_namespace {
	struct ns_common ns;
};
struct upid {
	int nr;
	struct pid_namespace *ns;
};
struct pid {
	unsigned int level;
	struct upid numbers[1];
};

typedef struct {
	__u32 val;
} kuid_t;
/* Two words of 32 bits before 6.3: the same bytes on a little-endian machine. */
typedef struct {
	__u64 val;
} kernel_cap_t;
struct user_namespace;
struct cred {
	kuid_t uid;
	kuid_t gid;
	kuid_t euid;
	kuid_t egid;
	kernel_cap_t cap_effective;
	struct user_namespace *user_ns;
};

struct mnt_namespace;
struct uts_namespace;
struct ipc_namespace;
struct net;
struct cgroup_namespace;
struct time_namespace;
struct nsproxy {
	struct uts_namespace *uts_ns;
	struct ipc_namespace *ipc_ns;
	struct mnt_namespace *mnt_ns;
	struct net *net_ns;
	struct time_namespace *time_ns;
	struct cgroup_namespace *cgroup_ns;
};

struct tty_struct;
typedef struct {
	int counter;
} atomic_t;
struct signal_struct {
	atomic_t live;
	int group_exit_code;
	struct tty_struct *tty;
};

struct kernfs_node {
	__u64 id;
};
struct cgroup_root {
	int hierarchy_id;
};
struct cgroup;
struct cgroup_subsys_state {
	struct cgroup *cgroup;
};
struct cgroup {
	struct cgroup_subsys_state self;
	int level;
	struct kernfs_node *kn;
	struct cgroup_root *root;
	struct cgroup *ancestors[1];
};
/* Before 6.1 a cgroup kept its ancestors' ids instead. */
struct cgroup___ids {
	__u64 ancestor_ids[1];
};
struct css_set {
	struct cgroup *dfl_cgrp;
};

struct file_system_type;
struct super_block {
	unsigned int s_dev;
	unsigned long s_magic;
};
struct inode {
	unsigned short i_mode;
	unsigned int i_nlink;
	unsigned int i_rdev;
	unsigned long i_ino;
	long long i_size;
	struct super_block *i_sb;
	/* 6.11. */
	__s64 i_mtime_sec;
	__u32 i_mtime_nsec;
};
struct timespec64 {
	__s64 tv_sec;
	long tv_nsec;
};
/* 6.6 to 6.10. */
struct inode___two {
	struct timespec64 __i_mtime;
};
/* Before 6.6. */
struct inode___old {
	struct timespec64 i_mtime;
};
struct qstr {
	const unsigned char *name;
};
struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
};
struct vfsmount {
	struct dentry *mnt_root;
};
struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};
struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};
struct fs_struct {
	struct path root;
	struct path pwd;
};
struct file {
	struct inode *f_inode;
	struct path f_path;
};
struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};
struct files_struct {
	struct fdtable *fdt;
};
struct mm_struct {
	unsigned long arg_start;
	unsigned long arg_end;
	unsigned long start_stack;
	unsigned long env_start;
	unsigned long env_end;
	struct file *exe_file;
};
struct linux_binprm {
	int argc;
	int envc;
	const char *filename;
	const char *interp;
	const char *fdpath;
};

struct task_struct {
	unsigned int __state;
	unsigned int flags;
	unsigned int in_execve : 1;
	struct mm_struct *mm;
	int exit_code;
	int pid;
	int tgid;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	struct pid *thread_pid;
	__u64 start_boottime;
	const struct cred *cred;
	struct fs_struct *fs;
	struct files_struct *files;
	struct signal_struct *signal;
	struct nsproxy *nsproxy;
	/* With CONFIG_AUDIT. */
	kuid_t loginuid;
	unsigned int sessionid;
	struct css_set *cgroups;
};
/* The name of start_boottime before 5.5. */
struct task_struct___old {
	__u64 real_start_time;
};

struct in6_addr {
	__u8 bytes[16];
};
struct net {
	struct ns_common ns;
};
typedef struct {
	struct net *net;
} possible_net_t;
struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	unsigned long skc_flags;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};
struct sock {
	struct sock_common __sk_common;
	__u8 sk_userlocks : 4;
	__u16 sk_type;
	__u16 sk_protocol;
};
struct inet_sock {
	__be16 inet_sport;
};
struct tcp_sock {
	__u64 bytes_acked;
	__u64 bytes_received;
	__u32 snd_una;
	__u32 write_seq;
};
struct packet_sock {
	__be16 num;
};
#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long di;
	unsigned long dx;
	unsigned long orig_ax;
};
#elif defined(__TARGET_ARCH_arm64)
struct pt_regs {
	__u64 regs[31];
	__s32 syscallno;
};
#endif
struct socket {
	struct sock *sk;
};
struct socket_alloc {
	struct socket socket;
	struct inode vfs_inode;
};

struct kernel_siginfo {
	int si_code;
};
struct module {
	char name[1];
};

struct seq_file;
struct bpf_iter_meta {
	struct seq_file *seq;
};
struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};
struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u32 fd;
	struct file *file;
};

#pragma clang attribute pop

#endif
