/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a process runs and how it was started. */
#ifndef CORDON_IMAGE_H
#define CORDON_IMAGE_H

#include "common.h"

#define S_IFMT 00170000
#define S_IFSOCK 0140000
#define S_IFREG 0100000
#define S_IFCHR 0020000
#define S_IFIFO 0010000
#define S_IWOTH 00002
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
/* Most environment variables looked at; pointers to them, and bytes of them, that are read at once. */
#define VARIABLES 1024
#define POINTERS 128
#define ENVIRONMENT_BYTES 8192
#define MEM_MAJOR 1
#define NULL_MINOR 3
#define TTY_MAJOR 4
#define TTYAUX_MAJOR 5
#define PTS_FIRST_MAJOR 136
#define PTS_LAST_MAJOR 143
/* Longest path on the list of programs that must not run, with a NUL behind each name. */
#define LISTED_PATH_BYTES 256

/*
 * A path being walked upwards. It lies in the buffer rather than on the stack, because the verifier
 * follows each value of a variable on the stack and knows nothing of what is in a map.
 */
struct walk {
	struct dentry *dentry;
	struct vfsmount *mount;
	struct dentry *root;
	struct vfsmount *root_mount;
	__u32 at;
	__u32 limit;
	__u32 is_whole;
	/* Whether to gather the modes of what is passed, and what they are together. */
	__u32 looks;
	__u32 mode;
	/* The dentry has something mounted on it: it is not what anybody sees there. */
	__u32 is_covered;
};

/* The environment of a new image, gone through. */
struct environment {
	__u64 start;
	__u64 pointers_at;
	__u64 count;
	/* How much of it was read into `text`. */
	__u64 bytes;
	__u64 pointers[POINTERS];
	/* And what follows a variable that begins at its very end. */
	__u8 text[ENVIRONMENT_BYTES + 16];
};

struct exec_buffer {
	struct exec_record record;
	char text[TEXT_BYTES];
	/* From here on nothing is submitted. */
	struct walk walk;
	struct environment environment;
	char listed_path[LISTED_PATH_BYTES];
};

static __always_inline __u8 device_kind(__u32 device)
{
	__u32 major = device >> 20, minor = device & 0xfffff;

	if (major == MEM_MAJOR && minor == NULL_MINOR)
		return STDIO_NULL;
	if (major == TTY_MAJOR || major == TTYAUX_MAJOR ||
	    (major >= PTS_FIRST_MAJOR && major <= PTS_LAST_MAJOR))
		return STDIO_TTY;
	return STDIO_OTHER;
}

static __always_inline __u8 socket_kind(struct inode *inode)
{
	struct socket_alloc *alloc =
		(void *)inode - bpf_core_field_offset(struct socket_alloc, vfs_inode);
	__u16 family = BPF_CORE_READ(alloc, socket.sk, __sk_common.skc_family);

	if (family == AF_INET || family == AF_INET6)
		return STDIO_SOCKET;
	return family == AF_UNIX ? STDIO_UNIX_SOCKET : STDIO_OTHER;
}

CHECKED_ONCE __u32 descriptor_kind(__u64 table_at, __u32 number)
{
	struct fdtable *table = (void *)table_at;
	struct file **files = BPF_CORE_READ(table, fd);
	struct file *file = NULL;
	struct inode *inode;
	__u16 mode;

	if (number >= BPF_CORE_READ(table, max_fds))
		return STDIO_CLOSED;
	if (bpf_probe_read_kernel(&file, sizeof(file), files + number))
		return STDIO_UNKNOWN;
	if (!file)
		return STDIO_CLOSED;
	inode = BPF_CORE_READ(file, f_inode);
	mode = BPF_CORE_READ(inode, i_mode) & S_IFMT;
	if (mode == S_IFREG)
		return STDIO_FILE;
	if (mode == S_IFIFO)
		return STDIO_PIPE;
	if (mode == S_IFCHR)
		return device_kind(BPF_CORE_READ(inode, i_rdev));
	if (mode == S_IFSOCK)
		return socket_kind(inode);
	return STDIO_OTHER;
}

/* One step upwards; 1 when there are no more. */
static long walk_step(__u32 index, struct exec_buffer **place)
{
	struct exec_buffer *buffer = *place;
	struct walk *walk = &buffer->walk;
	struct dentry *dentry = walk->dentry;
	struct vfsmount *mount = walk->mount;
	struct dentry *parent = BPF_CORE_READ(dentry, d_parent);
	__u32 at = walk->at & TEXT_MASK;
	long bytes;

	if (walk->looks && !walk->is_covered)
		walk->mode |= BPF_CORE_READ(dentry, d_inode, i_mode);
	walk->is_covered = 0;
	if (dentry == walk->root && mount == walk->root_mount) {
		walk->is_whole = 1;
		return 1;
	}
	if (dentry == BPF_CORE_READ(mount, mnt_root)) {
		struct mount *here = (void *)mount - bpf_core_field_offset(struct mount, mnt);
		struct mount *up = BPF_CORE_READ(here, mnt_parent);

		walk->dentry = BPF_CORE_READ(here, mnt_mountpoint);
		walk->mount = (void *)up + bpf_core_field_offset(struct mount, mnt);
		walk->is_covered = 1;
		walk->is_whole = up == here;
		return up == here;
	}
	if (at + NAME_BYTES > walk->limit)
		return 1;
	bytes = bpf_probe_read_kernel_str(buffer->text + at, NAME_BYTES,
					  BPF_CORE_READ(dentry, d_name.name));
	if (bytes <= 0)
		return 1;
	walk->at = at + bytes;
	walk->dentry = parent;
	/* Not below any directory: a memfd, or another file of a kernel-internal mount. */
	walk->is_whole = parent == dentry;
	return parent == dentry;
}

/*
 * Writes the names of a path from its leaf up to the task's root, and answers where the text ends, at
 * most `limit`. bpf_d_path is not allowed in tp_btf programs; bpf_loop (5.17) because a plain loop of
 * two paths makes the verifier look at more than a million instructions.
 */
static __always_inline __u32 walk(struct exec_buffer *buffer, __u32 at, __u32 limit,
				  struct dentry *dentry, struct vfsmount *mount, struct fs_struct *fs,
				  __u16 truncated, bool looks)
{
	struct walk *walk = &buffer->walk;

	walk->dentry = dentry;
	walk->mount = mount;
	walk->root = BPF_CORE_READ(fs, root.dentry);
	walk->root_mount = BPF_CORE_READ(fs, root.mnt);
	walk->at = at;
	walk->limit = limit;
	walk->looks = looks;
	walk->mode = 0;
	walk->is_covered = 0;
	walk->is_whole = 0;
	bpf_loop(PATH_PARTS, walk_step, &buffer, 0);
	if (!walk->is_whole)
		buffer->record.flags |= truncated;
	if (walk->mode & S_IWOTH)
		buffer->record.flags |= EXEC_WRITABLE;
	return walk->at & TEXT_MASK;
}

CHECKED_ONCE bool is_memfd(__u64 dentry_at)
{
	struct dentry *dentry = (void *)dentry_at;
	char name[6] = {};

	if (BPF_CORE_READ(dentry, d_parent) != dentry)
		return false;
	bpf_probe_read_kernel(name, sizeof(name), BPF_CORE_READ(dentry, d_name.name));
	return name[0] == 'm' && name[1] == 'e' && name[2] == 'm' && name[3] == 'f' &&
	       name[4] == 'd' && name[5] == ':';
}

CHECKED_ONCE __u64 mtime_of(__u64 inode_at)
{
	struct inode *inode = (void *)inode_at;
	struct timespec64 time = {};

	if (bpf_core_field_exists(inode->i_mtime_sec)) {
		time.tv_sec = BPF_CORE_READ(inode, i_mtime_sec);
		time.tv_nsec = BPF_CORE_READ(inode, i_mtime_nsec);
	} else if (bpf_core_field_exists(struct inode___two, __i_mtime)) {
		BPF_CORE_READ_INTO(&time, (struct inode___two *)inode, __i_mtime);
	} else {
		BPF_CORE_READ_INTO(&time, (struct inode___old *)inode, i_mtime);
	}
	return time.tv_sec < 0 ? 0 : time.tv_sec * 1000000000ULL + time.tv_nsec;
}

static __always_inline __u32 fill_exe(struct exec_buffer *buffer, struct task_struct *task,
				      struct fs_struct *fs)
{
	struct exec_record *record = &buffer->record;
	struct file *exe = BPF_CORE_READ(task, mm, exe_file);
	struct dentry *dentry = BPF_CORE_READ(exe, f_path.dentry);
	struct inode *inode = BPF_CORE_READ(exe, f_inode);

	record->device = BPF_CORE_READ(inode, i_sb, s_dev);
	record->inode = BPF_CORE_READ(inode, i_ino);
	record->mtime_ns = mtime_of((__u64)inode);
	record->size = BPF_CORE_READ(inode, i_size);
	if (!exe)
		return 0;
	if (is_memfd((__u64)dentry))
		record->flags |= EXEC_MEMFD;
	else if (BPF_CORE_READ(inode, i_nlink) == 0)
		record->flags |= EXEC_DELETED;
	return walk(buffer, 0, PATH_BYTES, dentry, BPF_CORE_READ(exe, f_path.mnt), fs,
		    EXEC_EXE_TRUNCATED, true);
}

static __always_inline void fill_user(struct exec_record *record, struct task_struct *task)
{
	const struct cred *cred = BPF_CORE_READ(task, cred);

	record->uid = BPF_CORE_READ(cred, uid.val);
	record->euid = BPF_CORE_READ(cred, euid.val);
	record->gid = BPF_CORE_READ(cred, gid.val);
	record->egid = BPF_CORE_READ(cred, egid.val);
	bpf_probe_read_kernel(&record->capabilities, sizeof(record->capabilities),
			      (void *)cred + bpf_core_field_offset(struct cred, cap_effective));
	record->login_uid = -1;
	record->session = -1;
	if (bpf_core_field_exists(task->loginuid)) {
		record->login_uid = BPF_CORE_READ(task, loginuid.val);
		record->session = BPF_CORE_READ(task, sessionid);
	}
}

/* The namespace that its own pid is the innermost of. */
static __always_inline struct pid_namespace *pid_namespace_of(struct task_struct *task)
{
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	struct upid *own = (void *)pid + bpf_core_field_offset(struct pid, numbers) +
			   BPF_CORE_READ(pid, level) * bpf_core_type_size(struct upid);

	return BPF_CORE_READ(own, ns);
}

#define DIFFERS(field, kind) (BPF_CORE_READ(a, field) != BPF_CORE_READ(b, field) ? (kind) : 0)

/* The namespaces in which two tasks differ. */
CHECKED_ONCE __u32 namespaces_apart(__u64 task_at, __u64 other_at)
{
	struct task_struct *task = (void *)task_at, *other = (void *)other_at;
	struct nsproxy *a = BPF_CORE_READ(task, nsproxy), *b = BPF_CORE_READ(other, nsproxy);
	__u32 apart = 0;

	if (BPF_CORE_READ(task, cred, user_ns) != BPF_CORE_READ(other, cred, user_ns))
		apart |= NAMESPACE_USER;
	if (pid_namespace_of(task) != pid_namespace_of(other))
		apart |= NAMESPACE_PID;
	/* A task that has let go of its namespaces ends. */
	if (a == b || !a || !b)
		return apart;
	return apart | DIFFERS(mnt_ns, NAMESPACE_MNT) | DIFFERS(net_ns, NAMESPACE_NET) |
	       DIFFERS(uts_ns, NAMESPACE_UTS) | DIFFERS(ipc_ns, NAMESPACE_IPC) |
	       DIFFERS(cgroup_ns, NAMESPACE_CGROUP) | DIFFERS(time_ns, NAMESPACE_TIME);
}

/* Everything but name, arguments and environment; answers where the text ends, at most 2 * PATH_BYTES. */
static __always_inline __u32 fill_image(struct exec_buffer *buffer, struct task_struct *task)
{
	struct exec_record *record = &buffer->record;
	struct fs_struct *fs = BPF_CORE_READ(task, fs);
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct task_struct *parent = BPF_CORE_READ(task, real_parent);
	__u32 exe_end, cwd_end;

	key_of(&record->parent, parent);
	fill_user(record, task);
	record->namespaces =
		namespaces_apart((__u64)BPF_CORE_READ(task, group_leader), (__u64)parent);
	record->flags = BPF_CORE_READ(task, signal, tty) ? EXEC_TTY : 0;
	record->stdio[0] = descriptor_kind((__u64)table, 0);
	record->stdio[1] = descriptor_kind((__u64)table, 1);
	record->stdio[2] = descriptor_kind((__u64)table, 2);
	record->argv_at = BPF_CORE_READ(task, mm, arg_start);
	record->environment = 0;
	exe_end = fill_exe(buffer, task, fs);
	if (exe_end > PATH_BYTES)
		return 0;
	cwd_end = walk(buffer, exe_end, 2 * PATH_BYTES, BPF_CORE_READ(fs, pwd.dentry),
		       BPF_CORE_READ(fs, pwd.mnt), fs, EXEC_CWD_TRUNCATED, false);
	record->exe_bytes = exe_end;
	record->cwd_bytes = cwd_end - exe_end;
	record->name_bytes = 0;
	record->argv_bytes = 0;
	record->hole = 0;
	return cwd_end;
}

#endif
