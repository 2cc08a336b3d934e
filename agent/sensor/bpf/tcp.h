/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * TCP: who listens, connects and is connected to, and what went over it. Of MPTCP each TCP flow is told;
 * those that the kernel adds by itself have nobody who asked for them and are left out.
 */
#include "socket.h"

#define TCP_FIN_WAIT1 4
#define TCP_FIN_WAIT2 5
#define TCP_LAST_ACK 9
#define TCP_CLOSING 11
/* include/net/sock.h, enum sock_flags: set when the peer's FIN came. */
#define SOCK_DONE 1

/* The caller, and the socket as its own; NULL when nobody in scope asks. */
static __always_inline struct socket_owner *owned_by_caller(struct sock *sk, __u32 role)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct socket_owner *owner;
	struct record_key process;

	if (BPF_CORE_READ(task, flags) & PF_KTHREAD)
		return NULL;
	key_of(&process, task);
	if (!process.pid)
		return NULL;
	owner = bpf_sk_storage_get(&owners, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (owner)
		own(owner, task, &process, role, bpf_ktime_get_ns());
	return owner;
}

static __always_inline int on_begin(struct sock *sk)
{
	struct socket_owner *owner = owned_by_caller(sk, ROLE_OUT);
	struct flow_record *record;

	if (!owner)
		return 0;
	record = reserve(RECORD_CONNECT, owner->cgroup_id, sizeof(*record));
	if (!record)
		return 0;
	head_of_owner(&record->head, RECORD_CONNECT, owner);
	fill_remote(record, sk);
	submit_now(record);
	return 0;
}

static __always_inline int on_listen(struct sock *sk)
{
	struct socket_owner *owner = owned_by_caller(sk, ROLE_LISTENER);
	struct flow_record *record;

	if (!owner)
		return 0;
	record = reserve(RECORD_LISTEN, owner->cgroup_id, sizeof(*record));
	if (!record)
		return 0;
	head_of_owner(&record->head, RECORD_LISTEN, owner);
	fill_local(record, sk);
	submit_later(record);
	return 0;
}

static __always_inline int on_accept(struct sock *sk)
{
	struct socket_owner *owner = bpf_sk_storage_get(&owners, sk, 0, 0);
	struct flow_record *record;

	if (!owner || owner->role != ROLE_LISTENER)
		return 0;
	owner->role = ROLE_IN;
	owner->begun_ns = bpf_ktime_get_ns();
	record = reserve(RECORD_ACCEPT, owner->cgroup_id, sizeof(*record));
	if (!record)
		return 0;
	head_of_owner(&record->head, RECORD_ACCEPT, owner);
	fill_remote(record, sk);
	submit_later(record);
	return 0;
}

/*
 * The kernel counts sequence numbers: the SYN of who began is in bytes_acked, and a FIN is in
 * bytes_acked or bytes_received once it was acknowledged or taken.
 */
static __always_inline void fill_bytes(struct close_record *record, const struct sock *sk, int old)
{
	const struct tcp_sock *tcp = (const void *)sk;
	bool fin_sent = old == TCP_FIN_WAIT1 || old == TCP_FIN_WAIT2 || old == TCP_CLOSING ||
			old == TCP_LAST_ACK;
	__u64 more_sent = record->is_inbound ? 0 : 1;
	__u64 more_received = (sk->__sk_common.skc_flags >> SOCK_DONE) & 1;

	if (fin_sent && BPF_CORE_READ(tcp, snd_una) == BPF_CORE_READ(tcp, write_seq))
		more_sent += 1;
	record->sent = BPF_CORE_READ(tcp, bytes_acked);
	record->received = BPF_CORE_READ(tcp, bytes_received);
	record->sent -= record->sent < more_sent ? record->sent : more_sent;
	record->received -= record->received < more_received ? record->received : more_received;
}

static __always_inline int on_end(struct sock *sk, int old)
{
	struct socket_owner *owner = bpf_sk_storage_get(&owners, sk, 0, 0);
	struct close_record *record;
	__be16 port;
	__u32 role;

	if (!owner)
		return 0;
	role = owner->role;
	owner->role = ROLE_NONE;
	if (role != ROLE_IN && role != ROLE_OUT)
		return 0;
	record = reserve(RECORD_CLOSE, owner->cgroup_id, sizeof(*record));
	if (!record)
		return 0;
	head_of_owner(&record->flow.head, RECORD_CLOSE, owner);
	fill_remote(&record->flow, sk);
	/* skc_num went when the port was given back. */
	port = BPF_CORE_READ((const struct inet_sock *)sk, inet_sport);
	record->flow.local_port = __builtin_bswap16(port);
	record->begun_ns = owner->begun_ns;
	record->is_inbound = role == ROLE_IN;
	record->hole = 0;
	fill_bytes(record, sk, old);
	submit_later(record);
	return 0;
}

/*
 * net/ipv4/af_inet.c, inet_sk_set_state(): trace_inet_sock_set_state(sk, oldstate, newstate), Linux
 * 4.16; as tp_btf 5.5; called just before the state changes. CLOSE -> SYN_SENT happens inside connect()
 * with the peer's address already set, CLOSE -> LISTEN inside listen(), both in the caller's context;
 * SYN_RECV -> ESTABLISHED and the way to CLOSE in whatever runs when the packet comes.
 */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(on_socket_state, struct sock *sk, const int old, const int new)
{
	if (sk->sk_protocol != IPPROTO_TCP)
		return 0;
	if (old == TCP_CLOSE && new == TCP_SYN_SENT)
		return on_begin(sk);
	if (old == TCP_CLOSE && new == TCP_LISTEN)
		return on_listen(sk);
	if (old == TCP_SYN_RECV && new == TCP_ESTABLISHED)
		return on_accept(sk);
	if (new == TCP_CLOSE && old != TCP_CLOSE)
		return on_end(sk, old);
	return 0;
}
