// SPDX-License-Identifier: GPL-2.0-only
//
// Count, per timer interrupt, what was on the CPU: samples per (cgroup, process, user stack, kernel
// stack). Compiled by BCC against the tiny header tree in include/, never against the
// headers of the running kernel. The bpf_get_stack helper is GPL-only, hence the licence.
//
// The loader defines:
//   STACK_COUNTS_MAX, STACKS_MAX  capacity of one buffer
//   MAX_FRAMES               addresses that are kept of a stack, the leaf first
//   MAP_FLAGS                BPF_F_NO_PREALLOC (1) where perf programs may use it (Linux >= 6.1)
//   HASH_SEED                random per load, so that collisions cannot be provoked
//   TARGET_TGIDS             count only processes in `targets`            (optional)
//   TARGET_CGROUP, TARGET_CGROUP_LEVEL  ... only this cgroup's subtree     (optional)
//   KERNEL_STACKS            walk and store the kernel's stacks too           (optional)
//   HAVE_TASK_PT_REGS        bpf_task_pt_regs() exists (Linux >= 5.15 with BTF)
//   PID_NAMESPACE            count by the PIDs of this PID namespace (its inode), not by those of the
//                            initial one; with it come the offsets of sampling/btf.py (optional)
//   ANNOUNCED_MAX                  how many processes are remembered as announced
//   PAGE_SIZE                the host's, in which BCC counts the size of a ring
//
// Two buffers: programs write the active one while user space drains the other. User space flips
// `control`, waits for an RCU grace period (every running program has then ended), and reads a
// buffer that no program writes to, so that no sample is lost between a lookup and a delete.

#include <uapi/linux/ptrace.h>
#include <uapi/linux/bpf_perf_event.h>

#define USER_STACK (1ULL << 8) /* BPF_F_USER_STACK */

struct stack_count_key {
    u64 cgroup_id;
    u64 user_stack;   /* hash of the stack, 0: none */
    u64 kernel_stack; /* hash of the stack, 0: the CPU was in user mode. 1 without KERNEL_STACKS */
    u32 tgid;
    u32 flags;        /* FLAG_* */
};

#define FLAG_STACK_LOST 1 /* there was no room for a stack of it */

struct new_process {
    u64 cgroup_id;
    u64 tgid;
};

struct stack {
    /* amd64: the word at the stack pointer, arm64: the link register; 0 if it can't be the
     * caller of a leaf without a frame. */
    u64 caller;
    u64 depth;
    u64 ip[MAX_FRAMES];
};

/* Indices of `counters`; the same names in sampling/sampler.py. */
enum {
    COUNTER_INTERRUPTS,   /* all of the timer, idle ones too */
    COUNTER_IDLE,
    COUNTER_FILTERED,     /* outside the target */
    COUNTER_STACK_COUNTS_FULL, /* sample lost: no room in `stack_counts` */
    COUNTER_STACKS_FULL,  /* sample kept, a stack of it lost: no room for it */
    COUNTER_OUTSIDE,      /* sample lost: its process has no PID in PID_NAMESPACE */
    COUNTERS
};

BPF_ARRAY(control, u32, 1); /* [0]: the active buffer */
BPF_PERCPU_ARRAY(counters, u64, COUNTERS);
BPF_PERCPU_ARRAY(scratch, struct stack, 1);
BPF_F_TABLE("hash", struct stack_count_key, u64, stack_counts_0, STACK_COUNTS_MAX, MAP_FLAGS);
BPF_F_TABLE("hash", struct stack_count_key, u64, stack_counts_1, STACK_COUNTS_MAX, MAP_FLAGS);
/* User and kernel stacks apart: a map without preallocation starts with one spare element per
 * CPU (kernel/bpf/memalloc.c:prefill_mem_cache) and gets more only after the interrupt. */
BPF_F_TABLE("hash", u64, struct stack, user_stacks_0, STACKS_MAX, MAP_FLAGS);
BPF_F_TABLE("hash", u64, struct stack, user_stacks_1, STACKS_MAX, MAP_FLAGS);
BPF_F_TABLE("hash", u64, struct stack, kernel_stacks_0, STACKS_MAX, MAP_FLAGS);
BPF_F_TABLE("hash", u64, struct stack, kernel_stacks_1, STACKS_MAX, MAP_FLAGS);
#ifdef TARGET_TGIDS
BPF_HASH(targets, u32, u8, 16384);
#endif
/* A process is announced with its first sample, so that user space can read it while it lives: by
 * the next drain it may have ended, and its cgroup with it. */
BPF_F_TABLE("hash", struct new_process, u8, announced, ANNOUNCED_MAX, MAP_FLAGS);
BPF_RINGBUF_OUTPUT(new_processes, 1);

#define EEXIST 17

#define ALWAYS_INLINE static inline __attribute__((always_inline))

ALWAYS_INLINE void add(int counter) {
    u64 *value = counters.lookup(&counter);
    if (value)
        *value += 1; /* per CPU, and a timer interrupt does not interrupt itself */
}

/* The murmur3 finalizer's multiplier over every word: cheap, and seeded. Never 0. */
ALWAYS_INLINE u64 hash_stack(const struct stack *stack) {
    u64 hash = HASH_SEED ^ stack->caller ^ (stack->depth << 56);
    for (int i = 0; i < MAX_FRAMES; i++) {
        if (i >= stack->depth)
            break;
        hash = (hash ^ stack->ip[i]) * 0xff51afd7ed558ccdULL;
        hash ^= hash >> 32;
    }
    return hash | 1;
}

/* A call's return address: in the same image as the leaf, so near it. Keeping anything else
 * would make a new stack out of every value that a local variable takes. User space checks
 * against the text of the binary. */
ALWAYS_INLINE u64 plausible_caller(u64 word, u64 leaf) {
    u64 distance = word > leaf ? word - leaf : leaf - word;
    return word >= 0x10000 && distance < (1ULL << 28) ? word : 0;
}

/* user_mode() of the kernel's asm/ptrace.h. */
ALWAYS_INLINE bool from_user_mode(struct bpf_perf_event_data *ctx) {
#if defined(__x86_64__)
    return ctx->regs.cs & 3;
#elif defined(__aarch64__)
    return !(ctx->regs.pstate & 0xf);
#endif
}

ALWAYS_INLINE u64 caller_word(struct bpf_perf_event_data *ctx, u64 leaf, bool in_kernel) {
    u64 word = 0;
#if defined(__x86_64__)
    u64 sp;
    if (!in_kernel) {
        sp = ctx->regs.sp;
    } else {
#ifdef HAVE_TASK_PT_REGS
        struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(
            (struct task_struct *)bpf_get_current_task_btf());
        if (bpf_probe_read_kernel(&sp, sizeof(sp), &regs->sp))
            return 0;
#else
        return 0;
#endif
    }
    if (bpf_probe_read_user(&word, sizeof(word), (void *)sp))
        return 0;
#elif defined(__aarch64__)
    if (!in_kernel) {
        /* volatile: else clang joins this load with that of the other branch behind one pointer,
         * ctx + 240, and the verifier allows no load through a pointer made of the context. */
        word = *(volatile u64 *)&ctx->regs.regs[30];
    } else {
#ifdef HAVE_TASK_PT_REGS
        struct user_pt_regs *regs = (struct user_pt_regs *)bpf_task_pt_regs(
            (struct task_struct *)bpf_get_current_task_btf());
        if (bpf_probe_read_kernel(&word, sizeof(word), &regs->regs[30]))
            return 0;
#endif
    }
#endif
    return plausible_caller(word, leaf);
}

/* BCC rewrites map calls in functions, not in macros: hence the spelled-out buffers. */

/* Most are new since the last drain, so insert at once. Nonzero: there was no room. */

ALWAYS_INLINE bool no_room(long result) {
    return result && result != -EEXIST;
}

ALWAYS_INLINE bool store_user_stack(u32 buffer, u64 hash, struct stack *stack) {
    if (buffer)
        return no_room(user_stacks_1.insert(&hash, stack));
    return no_room(user_stacks_0.insert(&hash, stack));
}

ALWAYS_INLINE bool store_kernel_stack(u32 buffer, u64 hash, struct stack *stack) {
    if (buffer)
        return no_room(kernel_stacks_1.insert(&hash, stack));
    return no_room(kernel_stacks_0.insert(&hash, stack));
}

ALWAYS_INLINE void count(u32 buffer, struct stack_count_key *key) {
    u64 one = 1;
    if (!(buffer ? stack_counts_1.insert(key, &one) : stack_counts_0.insert(key, &one)))
        return;
    u64 *samples = buffer ? stack_counts_1.lookup(key) : stack_counts_0.lookup(key);
    if (samples)
        __sync_fetch_and_add(samples, 1);
    else
        add(COUNTER_STACK_COUNTS_FULL);
}

/* Once; where there is no room, at one of its next interrupts. */
ALWAYS_INLINE void announce(const struct stack_count_key *key) {
    struct new_process process = {.cgroup_id = key->cgroup_id, .tgid = key->tgid};
    u8 yes = 1;
    if (announced.lookup(&process) || announced.insert(&process, &yes))
        return;
    if (new_processes.ringbuf_output(&process, sizeof(process), 0))
        announced.delete(&process);
}

#ifdef PID_NAMESPACE
#define MAX_PID_NS_LEVEL 32 /* the kernel's include/linux/pid_namespace.h */

ALWAYS_INLINE u64 read_kernel_word(u64 address) {
    u64 word = 0;
    bpf_probe_read_kernel(&word, sizeof(word), (void *)address);
    return word;
}

ALWAYS_INLINE u32 read_kernel_u32(u64 address) {
    u32 word = 0;
    bpf_probe_read_kernel(&word, sizeof(word), (void *)address);
    return word;
}

/* As task_tgid_nr_ns() of the kernel: a process has a PID in its own namespace and in each
 * that this one is in. 0: the process is not in PID_NAMESPACE, or is just being removed. From the
 * innermost namespace outwards, because most processes are in PID_NAMESPACE or one below. */
ALWAYS_INLINE u32 tgid_in_namespace(void) {
    u64 leader = read_kernel_word(bpf_get_current_task() + TASK_GROUP_LEADER);
    u64 pid = read_kernel_word(leader + TASK_THREAD_PID);
    u32 level = read_kernel_u32(pid + PID_LEVEL);
    if (!pid || level > MAX_PID_NS_LEVEL)
        return 0;
    for (u32 i = 0; i <= MAX_PID_NS_LEVEL; i++) {
        /* Keeps `i` the counter. Else clang counts `level` down, and the verifier of Linux 6.1
         * does not see that this ends. */
        asm volatile("" : "+r"(i));
        if (i > level)
            break;
        u64 number = pid + PID_NUMBERS + (u64)(level - i) * UPID_SIZE;
        u64 namespace = read_kernel_word(number + UPID_NS);
        if (read_kernel_u32(namespace + NAMESPACE_COMMON + COMMON_INUM) == PID_NAMESPACE)
            return read_kernel_u32(number + UPID_NR);
    }
    return 0;
}
#endif

int sample(struct bpf_perf_event_data *ctx) {
    add(COUNTER_INTERRUPTS);
    struct stack_count_key key = {};
    key.tgid = bpf_get_current_pid_tgid() >> 32;
    if (!key.tgid) {
        add(COUNTER_IDLE);
        return 0;
    }
#ifdef PID_NAMESPACE
    key.tgid = tgid_in_namespace();
#endif
#ifdef TARGET_TGIDS
    if (!targets.lookup(&key.tgid)) {
        add(COUNTER_FILTERED);
        return 0;
    }
#endif
#ifdef TARGET_CGROUP
    if (bpf_get_current_ancestor_cgroup_id(TARGET_CGROUP_LEVEL) != TARGET_CGROUP) {
        add(COUNTER_FILTERED);
        return 0;
    }
#endif
#ifdef PID_NAMESPACE
    if (!key.tgid) {
        add(COUNTER_OUTSIDE);
        return 0;
    }
#endif
    int zero = 0;
    u32 *active = control.lookup(&zero);
    struct stack *stack = scratch.lookup(&zero);
    if (!active || !stack)
        return 0; /* cannot happen, but the verifier requires the check */
    u32 buffer = *active;
    key.cgroup_id = bpf_get_current_cgroup_id();
    announce(&key);

    bool in_kernel = !from_user_mode(ctx);
    if (in_kernel) {
        key.kernel_stack = 1;
#ifdef KERNEL_STACKS
        stack->caller = 0;
        long kernel_bytes = bpf_get_stack(ctx, stack->ip, sizeof(stack->ip), 0);
        if (kernel_bytes > 0) {
            stack->depth = (u64)kernel_bytes / sizeof(u64);
            key.kernel_stack = hash_stack(stack);
            if (store_kernel_stack(buffer, key.kernel_stack, stack))
                key.flags |= FLAG_STACK_LOST;
        }
#endif
    }
    long user_bytes = bpf_get_stack(ctx, stack->ip, sizeof(stack->ip), USER_STACK);
    if (user_bytes > 0) {
        stack->depth = (u64)user_bytes / sizeof(u64);
        stack->caller = caller_word(ctx, stack->ip[0], in_kernel);
        key.user_stack = hash_stack(stack);
        if (store_user_stack(buffer, key.user_stack, stack))
            key.flags |= FLAG_STACK_LOST;
    }
    if (key.flags)
        add(COUNTER_STACKS_FULL);
    count(buffer, &key);
    return 0;
}
