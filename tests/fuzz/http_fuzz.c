/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "../../consumers/live/http_parse.h"

/*
 * What clients of latido-live send: whatever the bytes, a request is incomplete, refused or accepted;
 * how they were cut into packets makes no difference; and what is accepted has the promised form.
 */

static void require(bool ok)
{
	if (!ok)
		abort();
}

static void check_accepted(const struct http_head *h, size_t used, size_t size)
{
	struct http_params p = {0};
	char cookie[64];
	int64_t ms;

	require(used > 0 && used <= size && used <= HTTP_HEAD_MAX);
	require(h->path[0] == '/' && !strstr(h->path, "/../") && !strstr(h->path, "/./"));
	for (const char *s = h->path; *s; s++)
		require((unsigned char)*s >= 0x20 && *s != '\\');
	require(h->host && *h->host && !http_header(h, "transfer-encoding"));
	require(h->method == HTTP_POST || h->body_bytes == 0);
	require(h->body_bytes <= HTTP_BODY_MAX && h->n_headers <= HTTP_HEADERS_MAX);
	if (http_params_parse(&p, h->query, strlen(h->query)))
		for (size_t i = 0; i < p.n; i++) {
			const char *v = http_param_value(&p, i);

			require(http_param(&p, http_param_name(&p, i), 0) != NULL);
			if (http_time_ms(v, &ms))
				require(ms >= 0);
			if (http_duration_ms(v, &ms))
				require(ms >= 0);
		}
	http_params_fini(&p);
	http_cookie(http_header(h, "cookie"), "latido_session", cookie, sizeof(cookie));
	http_etag_matches(http_header(h, "if-none-match"), "\"abc\"");
	http_accepts(http_header(h, "accept-encoding"), "gzip");
}

static int parse(const uint8_t *data, size_t size, struct http_head *h, size_t *used, char **copy)
{
	/* exactly as large, so that a step beyond is seen */
	*copy = malloc(size ? size : 1);
	if (size)
		memcpy(*copy, data, size);
	return http_parse_head(*copy, size, h, used);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_head whole, part;
	size_t used, some;
	char *a, *b;
	int rc = parse(data, size, &whole, &used, &a), early;

	require(rc == 0 || rc == 200 || (rc >= 400 && rc < 600));
	if (rc == 200) {
		check_accepted(&whole, used, size);
		/* nothing behind the head matters, and no shorter piece of it is a request */
		early = parse(data, used, &part, &some, &b);
		require(early == 200 && some == used);
		free(b);
		early = parse(data, used - 1, &part, &some, &b);
		require(early == 0);
		free(b);
	} else if (rc == 0) {
		require(size <= HTTP_HEAD_MAX);
	}
	free(a);
	return 0;
}
