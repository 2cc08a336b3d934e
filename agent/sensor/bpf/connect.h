/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Outbound TCP connections. */
#include "throttle.h"

#ifndef AF_INET
#define AF_INET 2
#define AF_INET6 10
#endif
#define TCP_SYN_SENT 2
#define TCP_CLOSE 7
#define IPPROTO_TCP 6
#define IPPROTO_MPTCP 262

static __always_inline void fill_peer(struct connect_record *record, const struct sock *sk)
{
	__u16 port = BPF_CORE_READ(sk, __sk_common.skc_dport);
	__u32 *words = (void *)record->address;

	record->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	record->port = __builtin_bswap16(port);
	record->hole = 0;
	words[0] = words[1] = words[2] = words[3] = 0;
	if (record->family == AF_INET6)
		BPF_CORE_READ_INTO((struct in6_addr *)record->address, sk, __sk_common.skc_v6_daddr);
	else
		words[0] = BPF_CORE_READ(sk, __sk_common.skc_daddr);
}

/*
 * net/ipv4/af_inet.c, inet_sk_set_state(): trace_inet_sock_set_state(sk, oldstate, newstate), Linux
 * 4.16; as tp_btf 5.5. CLOSE -> SYN_SENT happens inside connect(), in the caller's context, with the
 * peer's address and port already set.
 */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(on_socket_state, const struct sock *sk, const int old, const int new)
{
	struct task_struct *task;
	struct connect_record *record;
	struct record_key key;
	__u16 protocol;

	if (old != TCP_CLOSE || new != TCP_SYN_SENT)
		return 0;
	protocol = BPF_CORE_READ(sk, sk_protocol);
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_MPTCP)
		return 0;
	task = (void *)bpf_get_current_task();
	if (BPF_CORE_READ(task, flags) & PF_KTHREAD)
		return 0;
	key_of(&key, task);
	if (!key.pid || throttled(RECORD_CONNECT, cgroup_id_of(task)))
		return 0;
	record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);
	if (!record) {
		count_loss(RECORD_CONNECT);
		return 0;
	}
	head_of(&record->head, RECORD_CONNECT, task);
	fill_peer(record, sk);
	submit_now(record);
	return 0;
}
