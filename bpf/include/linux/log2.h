// SPDX-License-Identifier: GPL-2.0-only
#pragma once
#define roundup_pow_of_two(n) (n)
