/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * DNS questions as they leave and answers as they come, over UDP; and the first packet of connected UDP
 * sockets. These programs run on every packet of every socket: what is no UDP leaves at the second
 * comparison, and no packet is ever held back.
 */
#include "socket.h"
#include "context.h"

#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd
#define DNS_PORT 53
#define UDP_HEADER 8
#define IP4_HEADER 20
#define IP6_HEADER 40
/* A header, and the shortest question. */
#define DNS_LEAST 17

struct udp_packet {
	__u16 family;
	/* Where the UDP header is. */
	__u32 at;
	__be16 source;
	__be16 destination;
};

static __always_inline bool parse_udp4(struct __sk_buff *skb, struct udp_packet *packet)
{
	__u8 *ip = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;

	if ((void *)(ip + IP4_HEADER) > end || ip[9] != IPPROTO_UDP)
		return false;
	/* Later fragments have no ports. */
	if ((ip[6] & 0x1f) || ip[7])
		return false;
	packet->family = AF_INET;
	packet->at = (ip[0] & 0xf) * 4;
	return true;
}

static __always_inline bool parse_udp6(struct __sk_buff *skb, struct udp_packet *packet)
{
	__u8 *ip = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;

	if ((void *)(ip + IP6_HEADER) > end || ip[6] != IPPROTO_UDP)
		return false;
	packet->family = AF_INET6;
	packet->at = IP6_HEADER;
	return true;
}

static __always_inline bool parse_udp(struct __sk_buff *skb, struct udp_packet *packet)
{
	bool is_udp = false;

	if (skb->protocol == __builtin_bswap16(ETH_P_IP))
		is_udp = parse_udp4(skb, packet);
	else if (skb->protocol == __builtin_bswap16(ETH_P_IPV6))
		is_udp = parse_udp6(skb, packet);
	return is_udp && !bpf_skb_load_bytes(skb, packet->at, &packet->source, 4);
}

/* The address of the other end: `is_answer` says that the packet comes from there. */
static __always_inline void load_address(struct __sk_buff *skb, const struct udp_packet *packet,
					 bool is_answer, __u8 *address)
{
	__u32 *words = (void *)address;

	words[0] = words[1] = words[2] = words[3] = 0;
	if (packet->family == AF_INET6)
		bpf_skb_load_bytes(skb, is_answer ? 8 : 24, address, 16);
	else
		bpf_skb_load_bytes(skb, is_answer ? 12 : 16, address, 4);
}

static __always_inline void tell_message(struct __sk_buff *skb, const struct udp_packet *packet,
					 const struct socket_owner *owner, bool is_answer)
{
	__u32 at = packet->at + UDP_HEADER;
	__u64 bytes = skb->len - at;
	struct dns_record *record;

	if (skb->len < at + DNS_LEAST)
		return;
	if (bytes > DNS_BYTES)
		bytes = DNS_BYTES;
	record = reserve(RECORD_DNS, owner->cgroup_id, sizeof(*record));
	if (!record)
		return;
	head_of_owner(&record->flow.head, RECORD_DNS, owner);
	record->flow.family = packet->family;
	record->flow.port = DNS_PORT;
	record->flow.local_port = 0;
	record->flow.protocol = IPPROTO_UDP;
	load_address(skb, packet, is_answer, record->flow.address);
	record->hole = 0;
	/*
	 * Changes nothing, and tells every verifier that it is 1 to DNS_BYTES: the comparisons above are lost
	 * on it once the compiler has moved them, and before Linux 6.8 it learns nothing from one with 0.
	 */
	_Static_assert((DNS_BYTES & (DNS_BYTES - 1)) == 0, "DNS_BYTES - 1 is a mask");
	asm volatile("" : "+r"(bytes));
	bytes = ((bytes - 1) & (DNS_BYTES - 1)) + 1;
	if (bpf_skb_load_bytes(skb, at, record->message, bytes)) {
		bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);
		return;
	}
	record->bytes = bytes;
	submit_later(record);
}

/* A connected socket's first packet. */
static __always_inline void on_first_packet(struct __sk_buff *skb, const struct udp_packet *packet,
					    struct socket_owner *owner)
{
	struct peer peer = { .end.family = packet->family };

	owner->role = ROLE_OTHER;
	peer.process = owner->process;
	peer.end.port = __builtin_bswap16(packet->destination);
	load_address(skb, packet, false, (void *)peer.end.address);
	tell_peer(owner, &peer, __builtin_bswap16(packet->source));
}

/* The sender's, and remembered for the answer. */
static __always_inline struct socket_owner *asker(struct bpf_sock *sk)
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
		own(owner, task, &process, ROLE_OTHER, 0);
	return owner;
}

/*
 * net/ipv4/ip_output.c, ip_finish_output(), and its IPv6 twin: BPF_CGROUP_INET_EGRESS, Linux 4.10. UDP
 * comes here inside sendmsg(), in the caller's context.
 */
SEC("cgroup_skb/egress")
int on_egress(struct __sk_buff *skb)
{
	struct udp_packet packet = {};
	struct socket_owner *owner;
	struct bpf_sock *sk;

	if (!parse_udp(skb, &packet) || !skb->sk)
		return ALLOW;
	sk = bpf_sk_fullsock(skb->sk);
	if (!sk)
		return ALLOW;
	owner = bpf_sk_storage_get(&owners, sk, 0, 0);
	if (owner && owner->role == ROLE_UNSENT)
		on_first_packet(skb, &packet, owner);
	if (packet.destination == __builtin_bswap16(DNS_PORT)) {
		owner = asker(sk);
		if (owner)
			tell_message(skb, &packet, owner, false);
	}
	return ALLOW;
}

/*
 * net/core/filter.c, sk_filter_trim_cap(): BPF_CGROUP_INET_INGRESS, Linux 4.10, when a packet has found
 * its socket; in whatever runs then.
 */
SEC("cgroup_skb/ingress")
int on_ingress(struct __sk_buff *skb)
{
	struct udp_packet packet = {};
	struct socket_owner *owner;
	struct bpf_sock *sk;

	if (!parse_udp(skb, &packet) || packet.source != __builtin_bswap16(DNS_PORT) || !skb->sk)
		return ALLOW;
	sk = bpf_sk_fullsock(skb->sk);
	if (!sk)
		return ALLOW;
	owner = bpf_sk_storage_get(&owners, sk, 0, 0);
	if (owner && owner->process.pid)
		tell_message(skb, &packet, owner, true);
	return ALLOW;
}
