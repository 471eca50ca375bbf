/* SPDX-License-Identifier: MIT */
#include "live.h"

void prom_handle(struct live *l, struct http_req *req, const char *path)
{
	(void)l;
	(void)path;
	http_reply_error(req, 404, 0, "there is nothing here");
}
