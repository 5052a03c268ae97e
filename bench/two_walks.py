"""bcc's method of profiling, reduced to the kernel side: two get_stackid and a count per interrupt.

two_walks.py HZ

The program is that of bcc's tools/profile.py without its filters. Runs until a signal.
"""

from __future__ import annotations

import signal
import sys

from bcc import BPF, PerfSWConfig, PerfType

PROGRAM = """
#include <uapi/linux/ptrace.h>
#include <uapi/linux/bpf_perf_event.h>

struct key_t {
    u32 pid;
    u64 kernel_ip;
    int user_stack_id;
    int kernel_stack_id;
    char name[16];
};
BPF_HASH(counts, struct key_t);
BPF_STACK_TRACE(stack_traces, 16384);

int sample(struct bpf_perf_event_data *ctx) {
    u32 tgid = bpf_get_current_pid_tgid() >> 32;
    if (!tgid)
        return 0;
    struct key_t key = {.pid = tgid};
    bpf_get_current_comm(&key.name, sizeof(key.name));
    key.user_stack_id = stack_traces.get_stackid(&ctx->regs, BPF_F_USER_STACK);
    key.kernel_stack_id = stack_traces.get_stackid(&ctx->regs, 0);
    if (key.kernel_stack_id >= 0)
        key.kernel_ip = PT_REGS_IP(&ctx->regs);
    counts.increment(key);
    return 0;
}
"""


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    bpf = BPF(text=PROGRAM)
    bpf.attach_perf_event(
        ev_type=PerfType.SOFTWARE,
        ev_config=PerfSWConfig.CPU_CLOCK,
        fn_name="sample",
        sample_freq=int(sys.argv[1]),
    )
    signal.pause()


if __name__ == "__main__":
    main()
