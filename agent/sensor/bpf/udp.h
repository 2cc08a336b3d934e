/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* UDP: peers, each told once of a process, and bound sockets. */
#include "socket.h"
#include "context.h"

struct peer {
	struct record_key process;
	struct far_end end;
	__u32 hole;
};

/* The peers told already; the least recently used are forgotten, and told again when met again. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct peer);
	__type(value, __u8);
} peers SEC(".maps");

/* Remembers; false when it was remembered already. */
static __always_inline bool is_new_peer(const struct peer *peer)
{
	__u8 told = 1;

	if (bpf_map_lookup_elem(&peers, peer))
		return false;
	bpf_map_update_elem(&peers, peer, &told, BPF_ANY);
	return true;
}

static __always_inline void tell_peer(const struct socket_owner *owner, const struct peer *peer,
				      __u16 local_port)
{
	struct flow_record *record;

	if (!is_new_peer(peer))
		return;
	record = reserve(RECORD_UDP, owner->cgroup_id, sizeof(*record));
	if (!record)
		return;
	head_of_owner(&record->head, RECORD_UDP, owner);
	record->family = peer->end.family;
	record->port = peer->end.port;
	record->local_port = local_port;
	record->protocol = IPPROTO_UDP;
	__builtin_memcpy(record->address, peer->end.address, sizeof(record->address));
	submit_later(record);
}

static __always_inline bool is_udp_of_somebody(struct bpf_sock_addr *context, struct task_struct *task)
{
	return context->type == SOCK_DGRAM && context->protocol == IPPROTO_UDP &&
	       !(BPF_CORE_READ(task, flags) & PF_KTHREAD);
}

static __always_inline bool is_same_end(const struct far_end *one, const struct far_end *other)
{
	return one->port == other->port && one->family == other->family &&
	       one->address[0] == other->address[0] && one->address[1] == other->address[1] &&
	       one->address[2] == other->address[2] && one->address[3] == other->address[3];
}

static __always_inline void on_send(struct bpf_sock_addr *context, const struct far_end *end)
{
	__u32 sender = bpf_get_current_pid_tgid() >> 32;
	struct bpf_sock *sk = context->sk;
	struct socket_owner *owner;
	struct task_struct *task;
	struct peer peer = {};

	if (!sk || context->protocol != IPPROTO_UDP)
		return;
	owner = bpf_sk_storage_get(&owners, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!owner || (owner->sender == sender && is_same_end(&owner->last, end)))
		return;
	owner->sender = sender;
	owner->last = *end;
	task = (void *)bpf_get_current_task();
	if (!is_udp_of_somebody(context, task))
		return;
	key_of(&peer.process, task);
	if (!peer.process.pid)
		return;
	peer.end = *end;
	own(owner, task, &peer.process, owner->role, 0);
	tell_peer(owner, &peer, 0);
}

/*
 * net/ipv4/udp.c, udp_sendmsg(): BPF_CGROUP_UDP4_SENDMSG, Linux 4.18, when an address is given; in the
 * caller's context. A mapped address given to an IPv6 socket comes here too.
 */
SEC("cgroup/sendmsg4")
int on_send4(struct bpf_sock_addr *context)
{
	struct far_end end = {
		.address = { context->user_ip4 },
		.family = AF_INET,
		.port = __builtin_bswap16(context->user_port),
	};

	on_send(context, &end);
	return ALLOW;
}

/* net/ipv6/udp.c, udpv6_sendmsg(): BPF_CGROUP_UDP6_SENDMSG, Linux 4.18. */
SEC("cgroup/sendmsg6")
int on_send6(struct bpf_sock_addr *context)
{
	struct far_end end = {
		.address = { context->user_ip6[0], context->user_ip6[1], context->user_ip6[2],
			     context->user_ip6[3] },
		.family = AF_INET6,
		.port = __builtin_bswap16(context->user_port),
	};

	on_send(context, &end);
	return ALLOW;
}

/*
 * Only who then sends has a peer: getaddrinfo() connects a UDP socket to each address that it sorts.
 * dns.h sees the first packet.
 */
static __always_inline int on_udp_connect(struct bpf_sock_addr *context)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct socket_owner *owner;
	struct record_key process;
	struct bpf_sock *sk;

	if (!is_udp_of_somebody(context, task))
		return ALLOW;
	key_of(&process, task);
	sk = context->sk;
	if (!process.pid || !sk)
		return ALLOW;
	owner = bpf_sk_storage_get(&owners, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (owner)
		own(owner, task, &process, ROLE_UNSENT, 0);
	return ALLOW;
}

/* net/ipv4/udp.c, udp_pre_connect(): BPF_CGROUP_INET4_CONNECT, Linux 4.17. */
SEC("cgroup/connect4")
int on_connect4(struct bpf_sock_addr *context)
{
	return on_udp_connect(context);
}

/* net/ipv6/udp.c, udpv6_pre_connect(): BPF_CGROUP_INET6_CONNECT, Linux 4.17. */
SEC("cgroup/connect6")
int on_connect6(struct bpf_sock_addr *context)
{
	return on_udp_connect(context);
}

static __always_inline void on_bind(struct bpf_sock *context, __u16 family, const __u32 *address)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct flow_record *record;
	struct record_key process;
	__u32 *words;

	key_of(&process, task);
	if (!process.pid || BPF_CORE_READ(task, flags) & PF_KTHREAD)
		return;
	record = reserve(RECORD_LISTEN, cgroup_id_of(task), sizeof(*record));
	if (!record)
		return;
	head_of(&record->head, RECORD_LISTEN, task);
	record->family = family;
	record->port = context->src_port;
	record->local_port = context->src_port;
	record->protocol = IPPROTO_UDP;
	words = (void *)record->address;
	words[0] = address[0];
	words[1] = address[1];
	words[2] = address[2];
	words[3] = address[3];
	submit_later(record);
}

/*
 * net/ipv4/af_inet.c, __inet_bind(): BPF_CGROUP_INET4_POST_BIND, Linux 4.17; the port is chosen. It also
 * runs for TCP, which is told of when it listens.
 */
SEC("cgroup/post_bind4")
int on_bind4(struct bpf_sock *context)
{
	__u32 address[4] = { context->src_ip4 };

	if (context->type == SOCK_DGRAM && context->protocol == IPPROTO_UDP)
		on_bind(context, AF_INET, address);
	return ALLOW;
}

/* net/ipv6/af_inet6.c, __inet6_bind(): BPF_CGROUP_INET6_POST_BIND, Linux 4.17. */
SEC("cgroup/post_bind6")
int on_bind6(struct bpf_sock *context)
{
	__u32 address[4] = { context->src_ip6[0], context->src_ip6[1], context->src_ip6[2],
			     context->src_ip6[3] };

	if (context->type == SOCK_DGRAM && context->protocol == IPPROTO_UDP)
		on_bind(context, AF_INET6, address);
	return ALLOW;
}
