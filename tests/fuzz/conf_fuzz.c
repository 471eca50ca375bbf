/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "latido/config.h"

/*
 * Any document is either refused with a report, or accepted; and what is accepted is the same after
 * it was printed and loaded again.
 */

static void require(bool ok)
{
	if (!ok)
		abort();
}

/* Origins name another file and other lines the second time. */
static bool same_but_origins(const char *a, const char *b)
{
	while (*a && *b) {
		size_t na = strcspn(a, "\n"), nb = strcspn(b, "\n"), n = 0;

		while (n < na && n < nb && a[n] == b[n])
			n++;
		/* the first difference is in the comment, or there is none */
		if ((n < na || n < nb) && !memmem(a, n, " # ", 3))
			return false;
		a += na + (a[na] == '\n');
		b += nb + (b[nb] == '\n');
	}
	return *a == *b;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lt_buf errors = {0}, first = {0}, second = {0};
	struct lt_conf *c, *again;

	c = lt_conf_load_text(&lt_config_schema, "f", (const char *)data, size, &errors);
	if (!c) {
		require(errors.len > 0 && lt_utf8_valid(errors.data, errors.len));
		require(errors.len < 64 * 1024);
	} else {
		lt_conf_print(c, &first);
		again = lt_conf_load_text(&lt_config_schema, "f", first.data, first.len, &errors);
		/* a secret is printed as a comment, so a user whose password is gone is refused */
		if (again) {
			lt_conf_print(again, &second);
			if (!strstr(first.data, ": *** "))
				require(same_but_origins(first.data, second.data));
		} else {
			require(strstr(first.data, ": *** ") != NULL);
		}
		lt_conf_free(again);
	}
	lt_conf_free(c);
	lt_buf_fini(&errors);
	lt_buf_fini(&first);
	lt_buf_fini(&second);
	return 0;
}
