// SPDX-License-Identifier: GPL-2.0-only
// The context of a perf-event program: include/uapi/linux/bpf_perf_event.h.
#pragma once
#include <uapi/linux/ptrace.h>
struct bpf_perf_event_data {
    bpf_user_pt_regs_t regs;
    __u64 sample_period;
    __u64 addr;
};
