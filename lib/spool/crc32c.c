/* SPDX-License-Identifier: MIT */
#include "spool_int.h"

#include <pthread.h>

/* Castagnoli's polynomial, reflected: iSCSI's, ext4's and SSE 4.2's. */
#define POLY 0x82f63b78u

static uint32_t table[4][256];
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool hardware;

static void init(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int k = 0; k < 8; k++)
			c = c & 1 ? c >> 1 ^ POLY : c >> 1;
		table[0][i] = c;
	}
	for (uint32_t i = 0; i < 256; i++)
		for (int t = 1; t < 4; t++)
			table[t][i] = table[t - 1][i] >> 8 ^ table[0][table[t - 1][i] & 0xff];
#ifdef __x86_64__
	hardware = __builtin_cpu_supports("sse4.2");
#endif
}

static uint32_t portable(uint32_t c, const uint8_t *p, size_t n)
{
	for (; n >= 4; n -= 4, p += 4) {
		c ^= (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
		     (uint32_t)p[3] << 24;
		c = table[3][c & 0xff] ^ table[2][c >> 8 & 0xff] ^ table[1][c >> 16 & 0xff] ^
		    table[0][c >> 24];
	}
	while (n--)
		c = c >> 8 ^ table[0][(c ^ *p++) & 0xff];
	return c;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t with_sse(uint32_t c, const uint8_t *p, size_t n)
{
	uint64_t c64 = c, v;

	for (; n >= 8; n -= 8, p += 8) {
		__builtin_memcpy(&v, p, 8);
		c64 = __builtin_ia32_crc32di(c64, v);
	}
	c = (uint32_t)c64;
	while (n--)
		c = __builtin_ia32_crc32qi(c, *p++);
	return c;
}
#endif

uint32_t lt_crc32c_portable(uint32_t crc, const void *p, size_t n)
{
	pthread_once(&once, init);
	return ~portable(~crc, p, n);
}

uint32_t lt_crc32c(uint32_t crc, const void *p, size_t n)
{
	pthread_once(&once, init);
#ifdef __x86_64__
	if (hardware)
		return ~with_sse(~crc, p, n);
#endif
	return ~portable(~crc, p, n);
}
