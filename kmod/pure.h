/* SPDX-License-Identifier: GPL-2.0 OR MIT */
#ifndef LATIDO_KMOD_PURE_H
#define LATIDO_KMOD_PURE_H

/*
 * What fmt.c and ring.c need of their surroundings: they are compiled into the modules and, as they
 * are, into user-space tests.
 */
#ifdef __KERNEL__
#include <linux/math64.h>
#include <linux/string.h>
#include <linux/types.h>
#else
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t div_u64(uint64_t a, uint32_t b)
{
	return a / b;
}

static inline uint64_t div_u64_rem(uint64_t a, uint32_t b, uint32_t *rem)
{
	*rem = (uint32_t)(a % b);
	return a / b;
}

static inline uint64_t div64_u64(uint64_t a, uint64_t b)
{
	return a / b;
}
#endif

#endif
