/* SPDX-License-Identifier: MIT */
#include "ready.h"

#include <string.h>

#include "latido/daemon.h"

#define MAX_PARTS 8

static struct {
	const char *what;
	bool ready;
	char reason[512];
} parts[MAX_PARTS];
static size_t n_parts;
static void (*on_change)(void);

void lt_ready_set(const char *what, bool ready, const char *reason)
{
	size_t i = 0;

	while (i < n_parts && strcmp(parts[i].what, what) != 0)
		i++;
	if (i == MAX_PARTS)
		return;
	if (i == n_parts) {
		n_parts++;
		parts[i].what = what;
	}
	parts[i].ready = ready;
	strncpy(parts[i].reason, reason ? reason : "", sizeof(parts[i].reason) - 1);
	if (on_change)
		on_change();
}

bool lt_ready_all(void)
{
	for (size_t i = 0; i < n_parts; i++)
		if (!parts[i].ready)
			return false;
	return true;
}

bool lt_ready_render(struct lt_buf *out)
{
	bool all = lt_ready_all();

	lt_buf_printf(out, "{\"ready\":%s", all ? "true" : "false");
	for (size_t i = 0; i < n_parts; i++) {
		lt_buf_char(out, ',');
		lt_buf_json_str(out, parts[i].what, strlen(parts[i].what));
		lt_buf_printf(out, ":{\"ready\":%s", parts[i].ready ? "true" : "false");
		if (!parts[i].ready) {
			lt_buf_str(out, ",\"reason\":");
			lt_buf_json_str(out, parts[i].reason, strlen(parts[i].reason));
		}
		lt_buf_char(out, '}');
	}
	lt_buf_str(out, "}\n");
	return all;
}

void lt_ready_reset(void (*changed)(void))
{
	n_parts = 0;
	memset(parts, 0, sizeof(parts));
	on_change = changed;
}
