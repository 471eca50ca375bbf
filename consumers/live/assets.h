/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_LIVE_ASSETS_H
#define LATIDO_LIVE_ASSETS_H

#include <stdbool.h>
#include <stddef.h>

/* The page's files, compiled in by infra/web/embed.sh. */

struct asset {
	const char *path, *type;
	const char *hash; /* of the content, for ETag */
	bool fixed;       /* never changes under this path */
	const char *data, *end;
	const char *gz, *gz_end; /* encoded forms; NULL = none */
	const char *br, *br_end;
};

extern const struct asset live_assets[];
extern const unsigned live_assets_n;

#endif
