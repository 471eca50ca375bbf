/* SPDX-License-Identifier: MIT */
#include "assets.h"

#include <stdio.h>
#include <string.h>

#include "live.h"

#define FOR_EVER "public, max-age=31536000, immutable"

static const struct asset *find(const char *path)
{
	if (!strcmp(path, "/"))
		path = "/index.html";
	for (unsigned i = 0; i < live_assets_n; i++)
		if (!strcmp(live_assets[i].path, path))
			return &live_assets[i];
	return NULL;
}

bool assets_serve(struct http_req *req, const char *path, const char *more)
{
	const struct asset *a = find(path);
	const char *accept = http_header(&req->head, "accept-encoding"), *coding = "";
	const char *data, *end;
	char etag[48], headers[512];
	struct http_reply r = {.status = 200, .borrowed = true};

	if (!a)
		return false;
	data = a->data;
	end = a->end;
	if (a->br && http_accepts(accept, "br")) {
		data = a->br;
		end = a->br_end;
		coding = "br";
	} else if (a->gz && http_accepts(accept, "gzip")) {
		data = a->gz;
		end = a->gz_end;
		coding = "gzip";
	}
	snprintf(etag, sizeof(etag), "\"%s%s%s\"", a->hash, *coding ? "-" : "", coding);
	snprintf(headers, sizeof(headers), "ETag: %s\r\n%s%s%s%s", etag,
		*coding ? "Content-Encoding: " : "", coding, *coding ? "\r\n" : "", more);
	r.type = a->type;
	r.headers = headers;
	r.cache = a->fixed ? FOR_EVER : "no-cache";
	if (http_etag_matches(http_header(&req->head, "if-none-match"), etag)) {
		r.status = 304;
	} else {
		r.data = data;
		r.size = (size_t)(end - data);
	}
	http_reply(req, &r);
	return true;
}
