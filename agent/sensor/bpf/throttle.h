/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A bound on the events of one cgroup, so that a storm in one container costs nobody else theirs. */
#ifndef CORDON_THROTTLE_H
#define CORDON_THROTTLE_H

#include "common.h"

/* Nanoseconds that one event takes up of its cgroup's share; 0: no limit. */
const volatile __u64 event_ns = 0;
/* A cgroup that was quiet may make this many nanoseconds' worth of events at once. */
const volatile __u64 burst_ns = 0;
/* A throttled cgroup that has saved up this much of its burst has calmed down. */
const volatile __u64 calm_ns = 0;

#define BUCKETS 4096

/*
 * A leaking bucket, kept as one number so that CPUs need no lock: when it will have leaked empty if
 * nothing more comes ("generic cell rate algorithm").
 */
struct bucket {
	__u64 empty_ns;
	/* Events counted and not handed over since the throttle began. */
	__u64 dropped;
	__u64 is_over;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, BUCKETS);
	__type(key, __u64);
	__type(value, struct bucket);
} buckets SEC(".maps");

/* Records that their cgroup made too fast, by kind; in .bss like `losses`. */
__u64 throttles[RECORD_KINDS];

static __always_inline bool tell_throttle(__u64 cgroup, bool started, __u64 dropped)
{
	struct throttle_record *record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);

	if (!record) {
		count_loss(RECORD_THROTTLE);
		return false;
	}
	record->head.kind = RECORD_THROTTLE;
	record->head.hole = 0;
	record->head.mono_ns = bpf_ktime_get_ns();
	record->head.process.pid = 0;
	record->head.process.hole = 0;
	record->head.process.start_ns = 0;
	record->head.cgroup_id = cgroup;
	record->dropped = dropped;
	record->started = started;
	submit_later(record);
	return true;
}

/* Whether the bucket has room, which is then taken. */
static __always_inline bool take_room(struct bucket *bucket)
{
	__u64 now = bpf_ktime_get_ns();

	/* Another CPU may come between: after four times the event passes without paying. */
	for (int i = 0; i < 4; i++) {
		__u64 empty = *(volatile __u64 *)&bucket->empty_ns;
		__u64 from = empty > now ? empty : now;

		if (from - now > burst_ns)
			return false;
		if (__sync_val_compare_and_swap(&bucket->empty_ns, empty, from + event_ns) == empty)
			return true;
	}
	return true;
}

/*
 * Whether an event of this kind by a process of this cgroup must not be handed over; it is counted
 * then. To be asked once for each event that is in scope and would be submitted, before that.
 */
static __always_inline bool throttled(__u32 kind, __u64 cgroup)
{
	struct bucket *bucket;

	if (!event_ns)
		return false;
	bucket = bpf_map_lookup_elem(&buckets, &cgroup);
	if (!bucket) {
		struct bucket fresh = {};

		bpf_map_update_elem(&buckets, &cgroup, &fresh, BPF_NOEXIST);
		bucket = bpf_map_lookup_elem(&buckets, &cgroup);
		if (!bucket)
			return false;
	}
	if (take_room(bucket))
		return false;
	__sync_fetch_and_add(&throttles[kind], 1);
	__sync_fetch_and_add(&bucket->dropped, 1);
	if (!bucket->is_over && !__sync_val_compare_and_swap(&bucket->is_over, 0, 1)) {
		/* The next event that is dropped tries again. */
		if (!tell_throttle(cgroup, true, 0))
			bucket->is_over = 0;
	}
	return true;
}

/*
 * Run by user space for a cgroup that is throttled: nothing may happen in it any more that would
 * notice the end. Answers 1 when it is over, and tells that in the ring, behind everything that was
 * dropped. Program type `syscall`, Linux 5.14.
 */
SEC("syscall")
int on_throttle_check(struct throttle_check *context)
{
	__u64 cgroup = context->cgroup, dropped;
	struct bucket *bucket = bpf_map_lookup_elem(&buckets, &cgroup);

	/* Pushed out by others: what was counted until the last check is all that is known. */
	if (!bucket)
		return tell_throttle(cgroup, false, context->dropped);
	if (bucket->empty_ns > bpf_ktime_get_ns() + burst_ns - calm_ns) {
		context->dropped = bucket->dropped;
		return 0;
	}
	dropped = bucket->dropped;
	if (!tell_throttle(cgroup, false, dropped))
		return 0;
	__sync_fetch_and_add(&bucket->dropped, -dropped);
	bucket->is_over = 0;
	return 1;
}

#endif
