/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sockets that see or send what no transport of the kernel made. */
#include "socket.h"
#include "context.h"

#define CAP_NET_RAW 13

static __always_inline void tell_raw(__u16 family, __u16 protocol)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct flow_record *record;
	struct record_key process;

	key_of(&process, task);
	if (!process.pid || BPF_CORE_READ(task, flags) & PF_KTHREAD)
		return;
	record = reserve(RECORD_RAW_SOCKET, cgroup_id_of(task), sizeof(*record));
	if (!record)
		return;
	head_of(&record->head, RECORD_RAW_SOCKET, task);
	record->family = family;
	record->port = 0;
	record->local_port = 0;
	record->protocol = protocol;
	__builtin_memset(record->address, 0, sizeof(record->address));
	submit_later(record);
}

/* net/ipv4/af_inet.c, inet_create(), and its IPv6 twin: BPF_CGROUP_INET_SOCK_CREATE, Linux 4.10. */
SEC("cgroup/sock_create")
int on_socket(struct bpf_sock *context)
{
	if (context->type == SOCK_RAW)
		tell_raw(context->family, context->protocol);
	return ALLOW;
}

#if defined(__TARGET_ARCH_x86)
#define SOCKET_CALL 41
#define CALL_NUMBER(regs) BPF_CORE_READ(regs, orig_ax)
#define CALL_FAMILY(regs) BPF_CORE_READ(regs, di)
#define CALL_PROTOCOL(regs) BPF_CORE_READ(regs, dx)
#elif defined(__TARGET_ARCH_arm64)
#define SOCKET_CALL 198
#define CALL_NUMBER(regs) BPF_CORE_READ(regs, syscallno)
#define CALL_FAMILY(regs) BPF_CORE_READ(regs, regs[0])
#define CALL_PROTOCOL(regs) BPF_CORE_READ(regs, regs[2])
#endif

/*
 * security/commoncap.c, cap_capable(): trace_cap_capable(cred, target_ns, capable_ns, cap, ret), Linux
 * 6.14. packet_create() asks for CAP_NET_RAW inside socket(), whose arguments tell the family; no hook
 * of a cgroup sees packet sockets.
 */
SEC("tp_btf/cap_capable")
int BPF_PROG(on_capable, const void *cred, const void *target, const void *capable, int cap, int ret)
{
#ifdef SOCKET_CALL
	struct pt_regs *regs;
	__u16 protocol;

	if (cap != CAP_NET_RAW || ret)
		return 0;
	regs = (void *)bpf_task_pt_regs((void *)bpf_get_current_task_btf());
	if (!regs || CALL_NUMBER(regs) != SOCKET_CALL || (int)CALL_FAMILY(regs) != AF_PACKET)
		return 0;
	protocol = CALL_PROTOCOL(regs);
	tell_raw(AF_PACKET, __builtin_bswap16(protocol));
#endif
	return 0;
}
