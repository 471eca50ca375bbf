/* SPDX-License-Identifier: MIT */
#include "kmod.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "collector.h"

const char *const lt_kmod_names[LT_KMOD_N] = {"cpu", "ram", "procs"};

void lt_kmod_init(struct lt_kmod *k, const struct lt_agent_conf *conf)
{
	*k = (struct lt_kmod){.mode = conf->kmod};
	for (size_t i = 0; i < LT_KMOD_N; i++)
		lt_procfile_init(&k->file[i].f,
			lt_collect_path(conf->procfs, "latido/%s", lt_kmod_names[i]), true);
}

void lt_kmod_fini(struct lt_kmod *k)
{
	for (size_t i = 0; i < LT_KMOD_N; i++)
		lt_procfile_fini(&k->file[i].f);
}

const char *lt_kmod_read(struct lt_kmod *k, enum lt_kmod_file which, uint64_t tick)
{
	struct lt_procfile *f = &k->file[which].f;
	struct lt_err err = {0};
	int rc;

	if (k->mode == LT_KMOD_OFF)
		return NULL;
	if (k->file[which].tick == tick)
		return k->file[which].ok ? f->buf : NULL;
	k->file[which].tick = tick;
	rc = lt_procfile_read(f, &err);
	if (rc == LT_EIO) /* unloaded since the last read: it may be back */
		rc = lt_procfile_read(f, &err);
	k->file[which].ok = rc == LT_OK;
	if (rc == LT_OK) {
		lt_release(&k->file[which].complaint, "kmod_works_again",
			LT_S("module", lt_kmod_names[which]));
		return f->buf;
	}
	/* With auto a module that is not there is nothing to talk about. */
	if (k->mode == LT_KMOD_ON || rc != LT_EAGAIN)
		lt_complain(&k->file[which].complaint, LT_WARN, "kmod_unavailable",
			LT_S("module", lt_kmod_names[which]), LT_S("err", err.msg),
			LT_S("remedy",
				rc == LT_EAUTH
					? "load latido anew with gid=NUMBER mode=0440, or mode=0444"
					: "modprobe the latido modules, or agent.kmod: auto; "
					  "/proc is used instead"));
	return NULL;
}

void lt_kmod_refuse(struct lt_kmod *k, enum lt_kmod_file which, const char *what)
{
	k->file[which].ok = false;
	lt_complain(&k->file[which].complaint, LT_WARN, "kmod_not_understood",
		LT_S("module", lt_kmod_names[which]), LT_S("missing", what),
		LT_S("remedy", "install modules and agent of one release; /proc is used instead"));
}

/* ---- documents ---- */

/* Behind "key": or NULL. */
static const char *find(const char *text, const char *key)
{
	size_t n = strlen(key);

	for (const char *p = text; (p = strchr(p, '"')); p++)
		if (strncmp(p + 1, key, n) == 0 && p[n + 1] == '"' && p[n + 2] == ':')
			return p + n + 3;
	return NULL;
}

static bool number(const char *p, uint64_t *v)
{
	size_t n = 0;

	while (p && isdigit((unsigned char)p[n]))
		n++;
	return p && lt_token_u64((struct lt_token){p, n}, v);
}

bool lt_kmod_u64(const char *text, const char *key, uint64_t *v)
{
	return number(find(text, key), v);
}

bool lt_kmod_cpu_next(const char **cursor, uint64_t *cpu, const char **row)
{
	const char *p = strstr(*cursor, "{\"cpu\":");

	if (!p || !number(p + strlen("{\"cpu\":"), cpu))
		return false;
	*row = p;
	*cursor = p + 1;
	return true;
}

bool lt_kmod_states(const char *text, const char *key, uint64_t by_state[128])
{
	const char *p = find(text, key);

	if (!p || *p++ != '{')
		return false;
	while (*p == '"') {
		unsigned char letter = (unsigned char)p[1];
		uint64_t v;

		if (letter >= 128 || letter == '\0' || p[2] != '"' || p[3] != ':' ||
			!number(p + 4, &v))
			return false;
		/* "?" is for states that no kernel has yet: shown when there is one */
		if (letter != '?' || v)
			by_state[letter] = v;
		p += 4;
		while (isdigit((unsigned char)*p))
			p++;
		if (*p == ',')
			p++;
	}
	return *p == '}';
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What stands behind a backslash; \uXXXX of one unit, since no other is written. */
static const char *unescape(const char *p, struct lt_buf *out)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *at = *p ? strchr(from, *p) : NULL;
	unsigned c = 0;

	if (at) {
		lt_buf_char(out, to[at - from]);
		return p + 1;
	}
	if (*p++ != 'u')
		return NULL;
	for (int i = 0; i < 4; i++) {
		int digit = hex(*p);

		if (digit < 0)
			return NULL;
		c = c << 4 | (unsigned)digit;
		p++;
	}
	if (c == 0 || (c >= 0xd800 && c <= 0xdfff))
		return NULL;
	if (c >= 0x800)
		lt_buf_char(out, (char)(0xe0 | c >> 12));
	if (c >= 0x80)
		lt_buf_char(out, (char)(c >= 0x800 ? 0x80 | (c >> 6 & 0x3f) : 0xc0 | c >> 6));
	lt_buf_char(out, (char)(c >= 0x80 ? 0x80 | (c & 0x3f) : c));
	return p;
}

const char *lt_kmod_string(const char *p, struct lt_buf *out)
{
	if (*p++ != '"')
		return NULL;
	while (*p && *p != '"') {
		if (*p != '\\') {
			lt_buf_char(out, *p++);
			continue;
		}
		p = unescape(p + 1, out);
		if (!p)
			return NULL;
	}
	return *p ? p + 1 : NULL;
}

bool lt_kmod_task(const char *line, struct lt_kmod_task *t, struct lt_buf *comm)
{
	static const char begin[] = "{\"pid\":";
	const char *p;

	lt_buf_reset(comm);
	if (strncmp(line, begin, strlen(begin)) != 0 || !number(line + strlen(begin), &t->pid))
		return false;
	/* The name comes before all that is looked for behind it, and has no bare quote. */
	p = find(line, "comm");
	p = p ? lt_kmod_string(p, comm) : NULL;
	return p && lt_kmod_u64(p, "rss_bytes", &t->rss_bytes) &&
	       lt_kmod_u64(p, "cpu_ns", &t->cpu_ns) && lt_kmod_u64(p, "start_ns", &t->start_ns);
}
