// SPDX-License-Identifier: GPL-2.0-only
// BCC stamps this into the "version" section, which kernels since 5.0 ignore.
#pragma once
#define LINUX_VERSION_CODE 0x050800
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
