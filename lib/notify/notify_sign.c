/* SPDX-License-Identifier: MIT */
#include <sodium.h>
#include <stdio.h>

#include "notify_int.h"

void lt_notify_sign(const void *secret, size_t secret_len, int64_t t_s, const char *body,
	size_t len, char out[65])
{
	unsigned char mac[crypto_auth_hmacsha256_BYTES];
	crypto_auth_hmacsha256_state state;
	char head[32];
	int n = snprintf(head, sizeof(head), "%lld.", (long long)t_s);

	crypto_auth_hmacsha256_init(&state, secret, secret_len);
	crypto_auth_hmacsha256_update(&state, (const unsigned char *)head, (size_t)n);
	crypto_auth_hmacsha256_update(&state, (const unsigned char *)body, len);
	crypto_auth_hmacsha256_final(&state, mac);
	sodium_bin2hex(out, 65, mac, sizeof(mac));
	sodium_memzero(&state, sizeof(state));
}
