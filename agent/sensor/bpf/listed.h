/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Programs that must not run. The signal is there before the exec returns to user mode, so that the new image
 * does not run its first instruction.
 */
#ifndef CORDON_LISTED_H
#define CORDON_LISTED_H

#include "image.h"

#define LISTED_IMAGES 4096
/* Twice what may be listed: a new list is put beside the old one before that goes. */
#define LISTED_PATHS 2048
#define LISTED_SIZES 8192
#define SIGKILL 9
#define SIGCONT 18
#define SIGSTOP 19

/* What is done about what is listed. src/ebpf/listed.rs mirrors it. */
enum listed_act {
	/* Nothing is listed: nothing is looked up. */
	LISTED_NONE = 0,
	/* It is told. */
	LISTED_TELL = 1,
	/* It is killed, or stopped until user space has looked. */
	LISTED_ACT = 2,
};

struct image_key {
	__u64 inode;
	__u64 mtime_ns;
	__u64 size;
	__u32 device;
	__u32 hole;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} listed_acts SEC(".maps");

/* Files whose digest is listed. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, LISTED_IMAGES);
	__type(key, struct image_key);
	__type(value, __u32);
} listed_images SEC(".maps");

/* Files of a listed size and another digest. One that is pushed out is looked at again when it runs. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, LISTED_IMAGES);
	__type(key, struct image_key);
	__type(value, __u32);
} cleared_images SEC(".maps");

/* As walk() writes them: names from the leaf upwards. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, LISTED_PATHS);
	__type(key, char[LISTED_PATH_BYTES]);
	__type(value, __u32);
} listed_paths SEC(".maps");

/* Sizes of files of which only the digest is known, which takes user space to find. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, LISTED_SIZES);
	__type(key, __u64);
	__type(value, __u32);
} listed_sizes SEC(".maps");

static __always_inline __u32 listed_act(void)
{
	__u32 zero = 0;
	__u32 *act = bpf_map_lookup_elem(&listed_acts, &zero);

	return act ? *act : LISTED_NONE;
}

static __always_inline bool has_listed_path(struct exec_buffer *buffer)
{
	__u32 bytes = buffer->record.exe_bytes;

	if (buffer->record.flags & (EXEC_EXE_TRUNCATED | EXEC_MEMFD) || bytes == 0 ||
	    bytes >= LISTED_PATH_BYTES)
		return false;
	__builtin_memset(buffer->listed_path, 0, LISTED_PATH_BYTES);
	bytes &= LISTED_PATH_BYTES - 1;
	if (bpf_probe_read_kernel(buffer->listed_path, bytes, buffer->text))
		return false;
	return bpf_map_lookup_elem(&listed_paths, buffer->listed_path);
}

/* Acts, and answers whether the image is listed or might be. */
static __always_inline bool on_listed(struct exec_buffer *buffer, __u32 act)
{
	struct exec_record *record = &buffer->record;
	struct image_key image = {
		.inode = record->inode,
		.mtime_ns = record->mtime_ns,
		.size = record->size,
		.device = record->device,
	};

	if (bpf_map_lookup_elem(&listed_images, &image) || has_listed_path(buffer)) {
		record->flags |= EXEC_LISTED;
		/* Refused for the first process of the host. */
		if (act == LISTED_ACT && !bpf_send_signal(SIGKILL))
			record->flags |= EXEC_KILLED;
		return true;
	}
	if (act != LISTED_ACT || !bpf_map_lookup_elem(&listed_sizes, &image.size) ||
	    bpf_map_lookup_elem(&cleared_images, &image))
		return false;
	if (!bpf_send_signal(SIGSTOP))
		record->flags |= EXEC_HELD;
	return true;
}

#endif
