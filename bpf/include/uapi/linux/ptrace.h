// SPDX-License-Identifier: GPL-2.0-only
// User registers as the kernel's UAPI lays them out: arch/{x86,arm64}/include/uapi/asm/ptrace.h.
#pragma once
#include <linux/types.h>
#if defined(__x86_64__)
struct pt_regs {
    unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di;
    unsigned long orig_ax, ip, cs, flags, sp, ss;
};
typedef struct pt_regs bpf_user_pt_regs_t;
#elif defined(__aarch64__)
struct user_pt_regs {
    __u64 regs[31];
    __u64 sp, pc, pstate;
};
struct pt_regs {
    struct user_pt_regs user;
};
typedef struct user_pt_regs bpf_user_pt_regs_t;
#else
#error "gotax knows the registers of x86_64 and arm64 only"
#endif
