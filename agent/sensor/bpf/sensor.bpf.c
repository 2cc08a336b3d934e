/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One object, so that all programs share one ring and its order; one header for each subject. */
#include "exec.h"
#include "lineage.h"
#include "tcp.h"
#include "udp.h"
#include "dns.h"
#include "raw.h"
#include "cgroup.h"
#include "privilege.h"
#include "setid.h"
#include "snapshot.h"
#include "sockets.h"
#include "guard.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
