/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The sockets that were there before the sensor, each told once, of the first process that has it. A
 * socket's state changes after the programs above have seen it and owned the socket: what has no owner
 * here was there before them, and what has one is in their stream.
 */
#include "socket.h"

/*
 * include/net/sock.h: bind() asked for an address or a port. One that asked for neither cannot be told
 * from a socket that got its port by sending.
 */
#define SOCK_BINDADDR_LOCK 4
#define SOCK_BINDPORT_LOCK 8

/* Ports listened on: network namespace and port. Tells whose side began a connection. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, __u8);
} listened SEC(".maps");

static __always_inline __u64 local_end(const struct sock *sk)
{
	__u64 namespace = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);

	return namespace << 16 | BPF_CORE_READ(sk, __sk_common.skc_num);
}

static __always_inline bool is_internet(const struct sock *sk)
{
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	return family == AF_INET || family == AF_INET6;
}

static __always_inline bool is_listening(const struct sock *sk)
{
	return is_internet(sk) && BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP &&
	       BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_LISTEN;
}

/* Makes the socket the task's; NULL when it has an owner already, or nobody in scope would be it. */
static __always_inline struct socket_owner *adopt(struct sock *sk, struct task_struct *task, __u32 role)
{
	struct socket_owner *owner;
	struct record_key process;

	key_of(&process, task);
	if (!process.pid || BPF_CORE_READ(task, flags) & PF_KTHREAD)
		return NULL;
	owner = bpf_sk_storage_get(&owners, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!owner || owner->process.pid)
		return NULL;
	own(owner, task, &process, role, 0);
	return owner;
}

/* Makes the socket the task's and tells it, once. */
static __always_inline void adopt_and_tell(struct bpf_iter__task_file *context,
					   struct task_struct *task, struct sock *sk, __u32 role,
					   __u32 kind, __u16 protocol)
{
	struct socket_owner *owner = adopt(sk, task, role);
	struct flow_record record = {};

	if (!owner)
		return;
	head_of(&record.head, kind, task);
	if (kind == RECORD_LISTEN)
		fill_local(&record, sk);
	else
		fill_remote(&record, sk);
	record.protocol = protocol;
	/* The reader's page is full: the kernel comes back to this file with the next one. */
	if (bpf_seq_write(context->meta->seq, &record, sizeof(record)))
		owner->process.pid = 0;
}

/*
 * kernel/bpf/task_iter.c: bpf_iter__task_file { meta, task, fd, file }, Linux 5.8; bpf_sock_from_file
 * 5.11. This one goes first.
 */
SEC("iter/task_file")
int on_listener(struct bpf_iter__task_file *context)
{
	struct task_struct *task = context->task;
	struct file *file = context->file;
	struct socket *socket;
	struct sock *sk;
	__u8 yes = 1;
	__u64 end;

	if (!task || !file)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk || !is_listening(sk))
		return 0;
	end = local_end(sk);
	bpf_map_update_elem(&listened, &end, &yes, BPF_ANY);
	adopt_and_tell(context, task, sk, ROLE_LISTENER, RECORD_LISTEN, IPPROTO_TCP);
	return 0;
}

static __always_inline void on_stream(struct bpf_iter__task_file *context,
				      struct task_struct *task, struct sock *sk)
{
	__u64 end = local_end(sk);
	bool is_inbound = bpf_map_lookup_elem(&listened, &end);
	__u8 state = BPF_CORE_READ(sk, __sk_common.skc_state);

	if (state == TCP_CLOSE || state == TCP_LISTEN)
		return;
	if (is_inbound)
		adopt(sk, task, ROLE_IN);
	else
		adopt_and_tell(context, task, sk, ROLE_OUT, RECORD_CONNECT, IPPROTO_TCP);
}

static __always_inline void on_datagram(struct bpf_iter__task_file *context,
					struct task_struct *task, struct sock *sk)
{
	bool is_bound = BPF_CORE_READ_BITFIELD_PROBED(sk, sk_userlocks) &
			(SOCK_BINDADDR_LOCK | SOCK_BINDPORT_LOCK);
	bool is_connected = BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_ESTABLISHED;

	if (is_connected)
		adopt_and_tell(context, task, sk, ROLE_OTHER, RECORD_UDP, IPPROTO_UDP);
	else if (is_bound)
		adopt_and_tell(context, task, sk, ROLE_OTHER, RECORD_LISTEN, IPPROTO_UDP);
}

static __always_inline __u16 ethertype(const struct sock *sk)
{
	const struct packet_sock *packet = (const void *)sk;
	__u16 type = 0;

	if (bpf_core_field_exists(packet->num))
		type = BPF_CORE_READ(packet, num);
	return __builtin_bswap16(type);
}

SEC("iter/task_file")
int on_open_socket(struct bpf_iter__task_file *context)
{
	struct task_struct *task = context->task;
	struct file *file = context->file;
	struct socket *socket;
	__u16 protocol, type;
	struct sock *sk;

	if (!task || !file)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk)
		return 0;
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_PACKET)
		adopt_and_tell(context, task, sk, ROLE_OTHER, RECORD_RAW_SOCKET, ethertype(sk));
	if (!is_internet(sk))
		return 0;
	protocol = BPF_CORE_READ(sk, sk_protocol);
	type = BPF_CORE_READ(sk, sk_type);
	if (type == SOCK_RAW) {
		adopt_and_tell(context, task, sk, ROLE_OTHER, RECORD_RAW_SOCKET, protocol);
	} else if (protocol == IPPROTO_TCP) {
		on_stream(context, task, sk);
	} else if (protocol == IPPROTO_UDP) {
		on_datagram(context, task, sk);
	}
	return 0;
}

/* Asked again and again where no tracepoint tells of packet sockets. */
SEC("iter/task_file")
int on_packet_socket(struct bpf_iter__task_file *context)
{
	struct task_struct *task = context->task;
	struct file *file = context->file;
	struct socket *socket;
	struct sock *sk;

	if (!task || !file)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk || BPF_CORE_READ(sk, __sk_common.skc_family) != AF_PACKET)
		return 0;
	adopt_and_tell(context, task, sk, ROLE_OTHER, RECORD_RAW_SOCKET, ethertype(sk));
	return 0;
}

/* Processes that listened and have ended; filled by user space before it asks. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 64);
	__type(key, struct record_key);
	__type(value, __u8);
} ended_listeners SEC(".maps");

/* Who has a listening socket whose owner has ended: a daemon's child, most often. */
SEC("iter/task_file")
int on_heir(struct bpf_iter__task_file *context)
{
	struct task_struct *task = context->task;
	struct file *file = context->file;
	struct flow_record record = {};
	struct socket_owner *owner;
	struct socket *socket;
	struct sock *sk;

	if (!task || !file)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk || !is_listening(sk))
		return 0;
	owner = bpf_sk_storage_get(&owners, sk, 0, 0);
	if (!owner || !bpf_map_lookup_elem(&ended_listeners, &owner->process))
		return 0;
	head_of(&record.head, RECORD_LISTEN, task);
	/* It may not have closed its files yet. */
	if (!record.head.process.pid || record.head.process.pid == owner->process.pid)
		return 0;
	fill_local(&record, sk);
	if (!bpf_seq_write(context->meta->seq, &record, sizeof(record)))
		own(owner, task, &record.head.process, ROLE_LISTENER, 0);
	return 0;
}
