/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "conf_priv.h"

#define EXCERPT_CHARS 120
#define GUESS_MAX     40

const char *lt_conf_quote(const char *s, size_t n, char out[96])
{
	size_t room = 96 - 6, len = 0, size; /* two quotes, "..." and NUL */
	const char *end = s + n;

	out[len++] = '"';
	for (; s < end; s += size) {
		size = lt_utf8_step(s, (size_t)(end - s));
		if (len + size > room)
			break;
		if (lt_utf8_printable(s, size)) {
			memcpy(out + len, s, size);
			len += size;
		} else {
			out[len++] = '?';
		}
	}
	if (s < end) {
		memcpy(out + len, "...", 3);
		len += 3;
	}
	out[len++] = '"';
	out[len] = '\0';
	return out;
}

/* ---- did you mean ---- */

void lt_conf_guess_init(struct lt_conf_guess *g, const char *name, size_t len)
{
	*g = (struct lt_conf_guess){.name = name, .len = len};
	/* a third of the letters may be wrong */
	g->distance = len > GUESS_MAX ? 0 : (unsigned)(len < 3 ? 1 : (len + 2) / 3) + 1;
}

static unsigned min2(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Edits (insert, delete, replace, swap neighbours) from a to b; both at most GUESS_MAX long. */
static unsigned distance(const char *a, size_t na, const char *b, size_t nb)
{
	unsigned rows[3][GUESS_MAX + 1];
	unsigned *before = rows[0], *last = rows[1], *row = rows[2], *t;

	for (size_t j = 0; j <= nb; j++)
		last[j] = (unsigned)j;
	for (size_t i = 1; i <= na; i++) {
		row[0] = (unsigned)i;
		for (size_t j = 1; j <= nb; j++) {
			int x = tolower((unsigned char)a[i - 1]),
			    y = tolower((unsigned char)b[j - 1]);

			row[j] = min2(last[j - 1] + (x != y), min2(last[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) &&
				y == tolower((unsigned char)a[i - 2]))
				row[j] = min2(row[j], before[j - 2] + 1);
		}
		t = before;
		before = last;
		last = row;
		row = t;
	}
	return last[nb];
}

void lt_conf_guess_try(struct lt_conf_guess *g, const char *candidate, size_t len)
{
	unsigned d;

	if (g->len > GUESS_MAX || len > GUESS_MAX)
		return;
	d = distance(g->name, g->len, candidate, len);
	if (d < g->distance) {
		g->distance = d;
		g->best = candidate;
	}
}

bool lt_conf_is_secret_name(const struct lt_conf_schema *s, const char *name, size_t len)
{
	static const char *const usual[] = {"pass", "pwd", "secret", "token"};
	struct lt_conf_guess g;

	if (len > 5 && !memcmp(name + len - 5, "_file", 5))
		return false;
	for (size_t i = 0; i < LT_ARRAY_LEN(usual); i++) {
		if (strlen(usual[i]) == len && !strncasecmp(name, usual[i], len))
			return true;
	}
	lt_conf_guess_init(&g, name, len);
	for (size_t i = 0; i < s->n_sections; i++) {
		for (size_t j = 0; j < s->sections[i]->n_keys; j++) {
			const struct lt_conf_key *key = &s->sections[i]->keys[j];
			const char *dot = strrchr(key->name, '.');
			const char *leaf = dot ? dot + 1 : key->name;

			if (key->flags & LT_CONF_SECRET)
				lt_conf_guess_try(&g, leaf, strlen(leaf));
		}
	}
	return g.best != NULL;
}

/* ---- excerpts ---- */

static const char *find_line(const struct lt_conf_source *src, size_t line, size_t *len)
{
	const char *p = src->data, *end = p + src->size, *nl;

	for (size_t i = 1; i < line; i++) {
		nl = memchr(p, '\n', (size_t)(end - p));
		if (!nl)
			return NULL;
		p = nl + 1;
	}
	nl = memchr(p, '\n', (size_t)(end - p));
	*len = (size_t)((nl ? nl : end) - p);
	if (*len && p[*len - 1] == '\r')
		--*len;
	return p;
}

/* Where the value of a secret, or of a misspelt one, starts in the line; its length if there is none. */
static size_t visible(const struct lt_conf_schema *s, const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		size_t start = i;

		while (i < len && (isalnum((unsigned char)line[i]) || line[i] == '_'))
			i++;
		if (i == start)
			continue;
		if (lt_conf_is_secret_name(s, line + start, i - start)) {
			size_t colon = i;

			while (colon < len && strchr(" \t\"'", line[colon]))
				colon++;
			if (colon < len && line[colon] == ':')
				return colon + 1;
		}
		i--;
	}
	return len;
}

/* The line and a caret under column @col; long lines are cut around it. */
static void put_excerpt(
	struct lt_buf *out, const struct lt_conf_schema *schema, const struct lt_conf_pos *pos)
{
	size_t len, shown, size, n = 0, first = 0, last;
	const char *line = pos->src->data ? find_line(pos->src, pos->line, &len) : NULL;
	struct lt_buf caret = {0};

	if (!line)
		return;
	shown = pos->src->kind == LT_CONF_FROM_FILE ? visible(schema, line, len) : len;
	if (pos->col > EXCERPT_CHARS - 20)
		first = pos->col - EXCERPT_CHARS / 2;
	last = first + EXCERPT_CHARS;
	lt_buf_str(out, first ? "  ..." : "  ");
	lt_buf_str(&caret, first ? "     " : "  ");
	for (size_t i = 0; i < shown && n < last; i += size, n++) {
		size = lt_utf8_step(line + i, shown - i);
		if (n < first)
			continue;
		if (line[i] == '\t' || lt_utf8_printable(line + i, size))
			lt_buf_add(out, line + i, size);
		else
			lt_buf_char(out, '?');
		if (n + 1 < pos->col)
			lt_buf_char(&caret, line[i] == '\t' ? '\t' : ' ');
	}
	if (shown < len)
		lt_buf_str(out, " ***");
	else if (n == last)
		lt_buf_str(out, "...");
	/* a caret behind the end of what is shown stands right behind it */
	lt_buf_printf(out, "\n%s^\n", caret.data);
	lt_buf_fini(&caret);
}

/* ---- reports ---- */

static void put_origin(struct lt_buf *out, const struct lt_conf_pos *pos)
{
	if (!pos || !pos->src) {
		lt_buf_str(out, "default");
		return;
	}
	for (const char *p = pos->src->name; *p; p++)
		lt_buf_char(out, iscntrl((unsigned char)*p) ? '?' : *p);
	if (pos->src->kind == LT_CONF_FROM_FILE && pos->line)
		lt_buf_printf(out, ":%zu:%zu", pos->line, pos->col);
}

void lt_conf_say(struct lt_conf_run *run, enum lt_conf_severity sev, const struct lt_conf_pos *pos,
	const char *path, bool hide, const char *fmt, ...)
{
	char text[640];
	va_list ap;

	if (sev == LT_CONF_ERROR)
		run->n_errors++;
	if (!run->out)
		return;
	if (run->n_shown == LT_CONF_MAX_REPORTS) {
		run->n_unshown++;
		return;
	}
	run->n_shown++;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	put_origin(run->out, pos);
	lt_buf_printf(run->out, ": %s: %s%s%s\n", sev == LT_CONF_ERROR ? "error" : "warning",
		path ? path : "", path ? ": " : "", text);
	if (pos && pos->src && pos->line && !hide)
		put_excerpt(run->out, run->conf->schema, pos);
}

void lt_conf_say_rest(struct lt_conf_run *run)
{
	if (run->n_unshown)
		lt_buf_printf(run->out, "and %zu more\n", run->n_unshown);
}
