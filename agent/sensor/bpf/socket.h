/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whose a socket is, and what a record tells of it. */
#ifndef CORDON_SOCKET_H
#define CORDON_SOCKET_H
#include "throttle.h"

#ifndef AF_INET
#define AF_INET 2
#define AF_INET6 10
#endif
#define AF_PACKET 17
#define SOCK_DGRAM 2
#define SOCK_RAW 3
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
#define TCP_SYN_RECV 3
#define TCP_CLOSE 7
#define TCP_LISTEN 10

#define BPF_F_CLONE (1 << 9)
#define BPF_SK_STORAGE_GET_F_CREATE 1
/* Of a cgroup program: let it be done. */
#define ALLOW 1

enum socket_role {
	ROLE_NONE = 0,
	ROLE_LISTENER = 1,
	ROLE_IN = 2,
	ROLE_OUT = 3,
	/* A UDP socket that is connected and has not sent: connect() alone reaches nobody. */
	ROLE_UNSENT = 4,
	ROLE_OTHER = 5,
};

/* A UDP peer; address in network order with IPv4 in the first word, port in host order. */
struct far_end {
	__u32 address[4];
	__u16 family;
	__u16 port;
};

struct socket_owner {
	struct record_key process;
	__u64 cgroup_id;
	__u64 begun_ns;
	__u32 role;
	/* Who sent last, in or out of scope, and where to: most send there again. */
	__u32 sender;
	struct far_end last;
	__u32 hole;
};

/*
 * Kept with each socket and freed with it: as many as there are sockets, and none can be pushed out. A
 * child of a listening socket gets a copy of its parent's (BPF_F_CLONE), so that who listens is known in
 * the soft interrupt in which a connection comes up.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct socket_owner);
} owners SEC(".maps");

static __always_inline void own(struct socket_owner *owner, struct task_struct *task,
				const struct record_key *process, __u32 role, __u64 begun_ns)
{
	owner->process = *process;
	owner->cgroup_id = cgroup_id_of(task);
	owner->begun_ns = begun_ns;
	owner->role = role;
}

/* Room in the ring for a record of a kind, or a loss counted. To be asked last. */
static __always_inline void *reserve(__u32 kind, __u64 cgroup, __u64 bytes)
{
	void *record;

	if (throttled(kind, cgroup))
		return NULL;
	record = bpf_ringbuf_reserve(&ring, bytes, 0);
	if (!record)
		count_loss(kind);
	return record;
}

static __always_inline void head_of_owner(struct record_head *head, __u32 kind,
					  const struct socket_owner *owner)
{
	head->kind = kind;
	head->hole = 0;
	head->mono_ns = bpf_ktime_get_ns();
	head->process = owner->process;
	head->cgroup_id = owner->cgroup_id;
}

static __always_inline void fill_end(struct flow_record *record, const struct sock *sk,
				     const __be32 *ip4, const struct in6_addr *ip6)
{
	__u32 *to = (void *)record->address;

	record->family = sk->__sk_common.skc_family;
	record->local_port = sk->__sk_common.skc_num;
	record->protocol = sk->sk_protocol;
	to[0] = to[1] = to[2] = to[3] = 0;
	if (record->family == AF_INET6)
		bpf_probe_read_kernel(to, 16, ip6);
	else if (record->family == AF_INET)
		bpf_probe_read_kernel(to, 4, ip4);
}

static __always_inline void fill_remote(struct flow_record *record, const struct sock *sk)
{
	fill_end(record, sk, &sk->__sk_common.skc_daddr, &sk->__sk_common.skc_v6_daddr);
	record->port = __builtin_bswap16(sk->__sk_common.skc_dport);
}

static __always_inline void fill_local(struct flow_record *record, const struct sock *sk)
{
	fill_end(record, sk, &sk->__sk_common.skc_rcv_saddr, &sk->__sk_common.skc_v6_rcv_saddr);
	record->port = record->local_port;
}

#endif
