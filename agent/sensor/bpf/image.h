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
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define MEM_MAJOR 1
#define NULL_MINOR 3
#define TTY_MAJOR 4
#define TTYAUX_MAJOR 5
#define PTS_FIRST_MAJOR 136
#define PTS_LAST_MAJOR 143

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

static __always_inline __u8 descriptor_kind(struct fdtable *table, __u32 number)
{
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

/* A path being walked upwards. */
struct walk {
	struct exec_buffer *buffer;
	struct dentry *dentry;
	struct vfsmount *mount;
	struct dentry *root;
	struct vfsmount *root_mount;
	__u32 at;
	__u32 limit;
	bool is_whole;
};

/* One step upwards; 1 when there are no more. */
static long walk_step(__u32 index, struct walk *walk)
{
	struct dentry *dentry = walk->dentry;
	struct vfsmount *mount = walk->mount;
	struct dentry *parent = BPF_CORE_READ(dentry, d_parent);
	__u32 at = walk->at & TEXT_MASK;
	long bytes;

	if (dentry == walk->root && mount == walk->root_mount) {
		walk->is_whole = true;
		return 1;
	}
	if (dentry == BPF_CORE_READ(mount, mnt_root)) {
		struct mount *here = (void *)mount - bpf_core_field_offset(struct mount, mnt);
		struct mount *up = BPF_CORE_READ(here, mnt_parent);

		walk->dentry = BPF_CORE_READ(here, mnt_mountpoint);
		walk->mount = (void *)up + bpf_core_field_offset(struct mount, mnt);
		walk->is_whole = up == here;
		return up == here;
	}
	if (at + NAME_BYTES > walk->limit)
		return 1;
	bytes = bpf_probe_read_kernel_str(walk->buffer->text + at, NAME_BYTES,
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
				  __u8 truncated)
{
	struct walk walk = {
		.buffer = buffer,
		.dentry = dentry,
		.mount = mount,
		.root = BPF_CORE_READ(fs, root.dentry),
		.root_mount = BPF_CORE_READ(fs, root.mnt),
		.at = at,
		.limit = limit,
	};

	bpf_loop(PATH_PARTS, walk_step, &walk, 0);
	if (!walk.is_whole)
		buffer->record.flags |= truncated;
	return walk.at & TEXT_MASK;
}

static __always_inline bool is_memfd(struct dentry *dentry)
{
	char name[6] = {};

	if (BPF_CORE_READ(dentry, d_parent) != dentry)
		return false;
	bpf_probe_read_kernel(name, sizeof(name), BPF_CORE_READ(dentry, d_name.name));
	return name[0] == 'm' && name[1] == 'e' && name[2] == 'm' && name[3] == 'f' &&
	       name[4] == 'd' && name[5] == ':';
}

static __always_inline __u32 fill_exe(struct exec_buffer *buffer, struct task_struct *task,
				      struct fs_struct *fs)
{
	struct file *exe = BPF_CORE_READ(task, mm, exe_file);
	struct dentry *dentry = BPF_CORE_READ(exe, f_path.dentry);

	if (!exe)
		return 0;
	if (is_memfd(dentry))
		buffer->record.flags |= EXEC_MEMFD;
	else if (BPF_CORE_READ(exe, f_inode, i_nlink) == 0)
		buffer->record.flags |= EXEC_DELETED;
	return walk(buffer, 0, PATH_BYTES, dentry, BPF_CORE_READ(exe, f_path.mnt), fs,
		    EXEC_EXE_TRUNCATED);
}

/* Everything but the arguments; answers where the text ends, at most 2 * PATH_BYTES. */
static __always_inline __u32 fill_image(struct exec_buffer *buffer, struct task_struct *task)
{
	struct exec_record *record = &buffer->record;
	struct fs_struct *fs = BPF_CORE_READ(task, fs);
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	__u32 exe_end, cwd_end;

	key_of(&record->parent, BPF_CORE_READ(task, real_parent));
	record->uid = BPF_CORE_READ(task, cred, uid.val);
	record->euid = BPF_CORE_READ(task, cred, euid.val);
	record->flags = BPF_CORE_READ(task, signal, tty) ? EXEC_TTY : 0;
	record->stdio[0] = descriptor_kind(table, 0);
	record->stdio[1] = descriptor_kind(table, 1);
	record->stdio[2] = descriptor_kind(table, 2);
	exe_end = fill_exe(buffer, task, fs);
	if (exe_end > PATH_BYTES)
		return 0;
	cwd_end = walk(buffer, exe_end, 2 * PATH_BYTES, BPF_CORE_READ(fs, pwd.dentry),
		       BPF_CORE_READ(fs, pwd.mnt), fs, EXEC_CWD_TRUNCATED);
	record->exe_bytes = exe_end;
	record->cwd_bytes = cwd_end - exe_end;
	record->argv_bytes = 0;
	record->hole[0] = 0;
	record->hole[1] = 0;
	record->hole[2] = 0;
	return cwd_end;
}

#endif
