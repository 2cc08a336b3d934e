/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which of a short list of environment variables a new image is given. Only a bit for each leaves the
 * kernel: values hold secrets. src/record/exec.rs has the same list in the same order.
 */
#ifndef CORDON_ENVIRONMENT_H
#define CORDON_ENVIRONMENT_H

#include "image.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "names are compared as words");

/* Up to eight characters as the word that they are in memory; all of it is done by the compiler. */
static __always_inline __u64 word(const char *text, __u32 length)
{
	__u64 word = 0;

	for (__u32 i = 0; i < length; i++)
		word |= (__u64)(__u8)text[i] << (8 * i);
	return word;
}

static __always_inline __u64 first(__u64 word, __u32 length)
{
	return length < 8 ? word & ((1ULL << (8 * length)) - 1) : word;
}

/* Whether 16 characters begin with `name`, which has at most that many. */
#define IS(name, bit)                                                                             \
	do {                                                                                      \
		const __u32 length = sizeof(name) - 1;                                            \
		const __u32 low = length < 8 ? length : 8, high = length - low;                   \
		if (first(a, low) == word(name, low) &&                                           \
		    (!high || first(b, high) == word(&(name)[low], high)))                        \
			return 1U << (bit);                                                       \
	} while (0)

/* The bit of the variable that begins with these 16 characters. Names beyond 16 are told by those. */
CHECKED_ONCE __u32 variable_bit(__u64 a, __u64 b)
{
	switch ((__u8)a) {
	case 'L':
		IS("LD_PRELOAD=", 0);
		IS("LD_LIBRARY_PATH=", 1);
		IS("LD_AUDIT=", 2);
		break;
	case 'G':
		IS("GCONV_PATH=", 3);
		IS("GLIBC_TUNABLES=", 4);
		IS("GIT_SSH_COMMAND=", 20);
		break;
	case 'B':
		IS("BASH_ENV=", 5);
		break;
	case 'E':
		IS("ENV=", 6);
		break;
	case 'I':
		IS("IFS=", 7);
		break;
	case 'P':
		IS("PS4=", 8);
		IS("PROMPT_COMMAND=", 9);
		IS("PYTHONPATH=", 11);
		IS("PYTHONSTARTUP=", 12);
		IS("PYTHONHOME=", 13);
		IS("PERL5OPT=", 14);
		IS("PERL5LIB=", 15);
		break;
	case 'H':
		IS("HISTFILE=", 10);
		IS("HTTP_PROXY=", 22);
		IS("HTTPS_PROXY=", 24);
		break;
	case 'R':
		IS("RUBYOPT=", 16);
		IS("RUBYLIB=", 17);
		break;
	case 'N':
		IS("NODE_OPTIONS=", 18);
		break;
	case 'J':
		IS("JAVA_TOOL_OPTION", 19);
		break;
	case 'h':
		IS("http_proxy=", 21);
		IS("https_proxy=", 23);
		break;
	case 'a':
		IS("all_proxy=", 25);
		break;
	case 'A':
		IS("ALL_PROXY=", 26);
		break;
	case 'S':
		IS("SSH_CONNECTION=", 27);
		IS("SSH_ORIGINAL_COM", 28);
		IS("SUDO_USER=", 29);
		IS("SUDO_COMMAND=", 30);
		break;
	}
	return 0;
}

/*
 * One variable; 1 when there are no more. Most lie in what was read at once: a helper for each would
 * cost more than all the rest of an exec's record.
 */
static long environment_step(__u32 index, struct exec_buffer **place)
{
	struct environment *environment = &(*place)->environment;
	__u64 start[2] = {};
	__u64 at, offset, slot = index;

	/* Else the compiler leaves out the mask, which is what the verifier understands. */
	barrier_var(slot);
	if (index >= environment->count)
		return 1;
	if (index < POINTERS)
		at = environment->pointers[slot & (POINTERS - 1)];
	else if (bpf_probe_read_user(&at, sizeof(at), (void *)(environment->pointers_at + 8 * index)))
		return 1;
	offset = at - environment->start;
	if (offset < environment->bytes) {
		/* Not aligned: 64-bit machines with BPF do not mind. */
		__u64 *text = (void *)environment->text + (offset & (ENVIRONMENT_BYTES - 1));

		start[0] = text[0];
		start[1] = text[1];
	} else if (bpf_probe_read_user(start, sizeof(start), (void *)at)) {
		return 0;
	}
	(*place)->record.environment |= variable_bit(start[0], start[1]);
	return 0;
}

/*
 * The pointers lie where the loader of the new image put them: behind the number of arguments, their
 * pointers and a zero (fs/binfmt_elf.c, create_elf_tables()). A 32-bit image has shorter ones, which
 * do not pass the check: nothing is told of its environment.
 */
static __always_inline void fill_environment(struct exec_buffer *buffer, struct task_struct *task,
					     struct linux_binprm *bprm)
{
	struct environment *environment = &buffer->environment;
	__u64 bytes;

	environment->start = BPF_CORE_READ(task, mm, env_start);
	environment->pointers_at =
		BPF_CORE_READ(task, mm, start_stack) + 8 * (2 + (__u64)BPF_CORE_READ(bprm, argc));
	environment->count = BPF_CORE_READ(bprm, envc);
	environment->bytes = 0;
	bytes = 8 * environment->count;
	if (bytes > sizeof(environment->pointers))
		bytes = sizeof(environment->pointers);
	if (!bytes || bpf_probe_read_user(environment->pointers, bytes,
					  (void *)environment->pointers_at))
		return;
	if (environment->pointers[0] != environment->start)
		return;
	bytes = BPF_CORE_READ(task, mm, env_end) - environment->start;
	if (bytes > ENVIRONMENT_BYTES)
		bytes = ENVIRONMENT_BYTES;
	if (!bpf_probe_read_user(environment->text, bytes, (void *)environment->start))
		environment->bytes = bytes;
	bpf_loop(VARIABLES, environment_step, &buffer, 0);
}

#endif
