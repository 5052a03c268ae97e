// SPDX-License-Identifier: GPL-2.0-only
// Empty: BCC brings its own copy of bpf.h before this one is asked for.
#pragma once
