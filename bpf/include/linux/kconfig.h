// SPDX-License-Identifier: GPL-2.0-only
// BCC includes this first. Only the option that BCC's own headers ask for.
#pragma once
#define CONFIG_BPF_SYSCALL 1
