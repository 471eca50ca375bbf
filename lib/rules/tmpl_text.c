/* SPDX-License-Identifier: MIT */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <arpa/inet.h>
#include <ctype.h>
#include <locale.h>
#include <pcre2.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <wctype.h>

#include "tmpl.h"
#include "tmpl_fmt.h"

/* Functions of texts: case, regular expressions, host names, escaping. */

/* Steps of PCRE2 for one text: what Go's linear-time engine cannot need. */
#define MATCH_LIMIT 100000

static struct tval take(struct tmpl_run *r, struct lt_buf *b)
{
	struct tval v = tmpl_string(r, b);

	lt_buf_fini(b);
	return v;
}

/* ---- case ---- */

static locale_t utf8_locale;

static void make_locale(void)
{
	utf8_locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

static locale_t get_locale(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, make_locale);
	return utf8_locale;
}

static void put_rune(struct lt_buf *b, wint_t c)
{
	if (c < 0x80) {
		lt_buf_char(b, (char)c);
		return;
	}
	if (c < 0x800) {
		lt_buf_char(b, (char)(0xc0 | c >> 6));
	} else {
		if (c < 0x10000) {
			lt_buf_char(b, (char)(0xe0 | c >> 12));
		} else {
			lt_buf_char(b, (char)(0xf0 | c >> 18));
			lt_buf_char(b, (char)(0x80 | (c >> 12 & 0x3f)));
		}
		lt_buf_char(b, (char)(0x80 | (c >> 6 & 0x3f)));
	}
	lt_buf_char(b, (char)(0x80 | (c & 0x3f)));
}

enum change { UPPER = 0, LOWER, TITLE };

static wint_t changed(wint_t c, enum change how)
{
	locale_t l = get_locale();

	if (c < 0x80)
		return (wint_t)(how == LOWER ? tolower((int)c) : toupper((int)c));
	if (!l)
		return c;
	return how == LOWER ? towlower_l(c, l) : towupper_l(c, l);
}

/* Go's strings.Title: what stands between words. */
static bool is_separator(wint_t c)
{
	locale_t l = get_locale();

	if (c < 0x80)
		return !isalnum((int)c) && c != '_';
	if (!l || iswalpha_l(c, l) || iswdigit_l(c, l))
		return false;
	return iswspace_l(c, l);
}

static struct tval change_case(struct tmpl_run *r, const struct tval *a, enum change how)
{
	struct lt_buf b = {0};
	unsigned long c, before = ' ';
	size_t n;

	for (size_t i = 0; i < a->len; i += n) {
		n = fmt_rune_at(a->s + i, a->len - i, &c);
		if (how != TITLE || is_separator((wint_t)before))
			put_rune(&b, changed((wint_t)c, how));
		else
			put_rune(&b, (wint_t)c);
		before = c;
	}
	return take(r, &b);
}

struct tval tf_title(struct tmpl_run *r, const struct tval *a, size_t n)
{
	(void)n;
	return change_case(r, a, TITLE);
}

struct tval tf_upper(struct tmpl_run *r, const struct tval *a, size_t n)
{
	(void)n;
	return change_case(r, a, UPPER);
}

struct tval tf_lower(struct tmpl_run *r, const struct tval *a, size_t n)
{
	(void)n;
	return change_case(r, a, LOWER);
}

/* ---- regular expressions ---- */

struct regex {
	pcre2_code *code;
	pcre2_match_data *data;
	pcre2_match_context *ctx;
};

static bool regex_open(struct tmpl_run *r, struct regex *re, const struct tval *pattern)
{
	PCRE2_UCHAR why[120];
	PCRE2_SIZE at;
	int code;

	re->code = pcre2_compile((PCRE2_SPTR)pattern->s, pattern->len,
		PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_DOLLAR_ENDONLY |
			PCRE2_NEVER_BACKSLASH_C,
		&code, &at, NULL);
	if (!re->code) {
		pcre2_get_error_message(code, why, sizeof(why));
		tmpl_fail(
			r, TMPL_OWN "error parsing regexp: %s: `%.100s`", (char *)why, pattern->s);
		return false;
	}
	re->data = pcre2_match_data_create_from_pattern(re->code, NULL);
	re->ctx = pcre2_match_context_create(NULL);
	pcre2_set_match_limit(re->ctx, MATCH_LIMIT);
	pcre2_set_heap_limit(re->ctx, 1024);
	return true;
}

static void regex_close(struct regex *re)
{
	pcre2_match_context_free(re->ctx);
	pcre2_match_data_free(re->data);
	pcre2_code_free(re->code);
}

/* Return: as pcre2_match(); 0 for no match; -1 failed. */
static int regex_match(
	struct tmpl_run *r, struct regex *re, const char *s, size_t len, size_t at, uint32_t flags)
{
	int n = pcre2_match(re->code, (PCRE2_SPTR)s, len, at, flags, re->data, re->ctx);

	if (n == PCRE2_ERROR_NOMATCH)
		return 0;
	if (n < 0) {
		tmpl_fail(r, TMPL_OWN "regular expression: too many steps for one text");
		return -1;
	}
	return n;
}

struct tval tf_match(struct tmpl_run *r, const struct tval *a, size_t n)
{
	struct regex re;
	int got;

	(void)n;
	if (!regex_open(r, &re, a))
		return *a;
	got = regex_match(r, &re, a[1].s, a[1].len, 0, 0);
	regex_close(&re);
	return (struct tval){.kind = TV_BOOL, .b = got > 0};
}

static void put_group(struct lt_buf *out, const struct regex *re, const char *s, int group)
{
	PCRE2_SIZE *o = pcre2_get_ovector_pointer(re->data);

	if (group < 0 || (uint32_t)group >= pcre2_get_ovector_count(re->data) ||
		o[2 * group] == PCRE2_UNSET)
		return;
	lt_buf_add(out, s + o[2 * group], o[2 * group + 1] - o[2 * group]);
}

/* Go's Regexp.Expand: $1, $name, ${name}, $$. */
static void expand(struct lt_buf *out, const struct regex *re, const char *s, const struct tval *t)
{
	const char *p = t->s, *end = t->s + t->len, *name;
	char text[64];
	size_t len;
	int group;

	for (; p < end; p++) {
		if (*p != '$') {
			lt_buf_char(out, *p);
			continue;
		}
		if (p + 1 < end && p[1] == '$') {
			lt_buf_char(out, '$');
			p++;
			continue;
		}
		name = p + 1;
		if (name < end && *name == '{')
			name++;
		for (len = 0; name + len < end &&
			      (isalnum((unsigned char)name[len]) || name[len] == '_');)
			len++;
		if (!len || len >= sizeof(text) || (p[1] == '{' && name[len] != '}')) {
			lt_buf_char(out, '$');
			continue;
		}
		memcpy(text, name, len);
		text[len] = '\0';
		if (strspn(text, "0123456789") == len)
			group = len < 6 ? atoi(text) : -1;
		else
			group = pcre2_substring_number_from_name(re->code, (PCRE2_SPTR)text);
		put_group(out, re, s, group);
		p = name + len - (p[1] != '{');
	}
}

struct tval tf_replace(struct tmpl_run *r, const struct tval *a, size_t n)
{
	const struct tval *t = &a[2];
	struct lt_buf b = {0};
	size_t at = 0, copied = 0;
	struct regex re;
	PCRE2_SIZE *o;

	(void)n;
	if (!regex_open(r, &re, a))
		return *a;
	o = pcre2_get_ovector_pointer(re.data);
	while (at <= t->len && b.len <= TMPL_MAX_OUTPUT &&
		regex_match(r, &re, t->s, t->len, at, 0) > 0) {
		/* as Go: no empty match right behind another one */
		bool empty = o[1] == o[0];

		if (!empty || o[0] != copied || !copied) {
			lt_buf_add(&b, t->s + copied, o[0] - copied);
			expand(&b, &re, t->s, &a[1]);
			copied = o[1];
		}
		at = o[1];
		if (empty)
			at += at < t->len ? lt_utf8_step(t->s + at, t->len - at) : 1;
	}
	if (copied < t->len)
		lt_buf_add(&b, t->s + copied, t->len - copied);
	regex_close(&re);
	return take(r, &b);
}

/* ---- host names ---- */

/* Go's net.SplitHostPort, where it succeeds. */
static bool split_port(const struct tval *a, struct tval *host, struct tval *port)
{
	const char *s = a->s, *colon = strrchr(s, ':'), *close;

	if (!colon)
		return false;
	if (*s == '[') {
		close = strchr(s, ']');
		if (!close || close + 1 != colon)
			return false;
		*host = tmpl_text(s + 1, (size_t)(close - s - 1));
		if (memchr(s + 1, '[', host->len))
			return false;
	} else {
		*host = tmpl_text(s, (size_t)(colon - s));
		if (memchr(s, ':', host->len) || memchr(s, '[', host->len) ||
			memchr(s, ']', host->len))
			return false;
	}
	*port = tmpl_text(colon + 1, strlen(colon + 1));
	return !strpbrk(port->s, "[]");
}

struct tval tf_strip_port(struct tmpl_run *r, const struct tval *a, size_t n)
{
	struct tval host, port;

	(void)n;
	if (!split_port(a, &host, &port))
		return *a;
	return tmpl_text(lt_arena_str(r->arena, host.s, host.len), host.len);
}

static bool is_ip(const char *s)
{
	unsigned char bytes[16];

	return inet_pton(AF_INET, s, bytes) == 1 || inet_pton(AF_INET6, s, bytes) == 1;
}

struct tval tf_strip_domain(struct tmpl_run *r, const struct tval *a, size_t n)
{
	struct tval host, port;
	struct lt_buf b = {0};
	const char *text, *dot;
	size_t len;

	(void)n;
	if (!split_port(a, &host, &port)) {
		host = *a;
		port = tmpl_text("", 0);
	}
	text = lt_arena_str(r->arena, host.s, host.len);
	if (is_ip(text))
		return *a;
	dot = strchr(text, '.');
	len = dot ? (size_t)(dot - text) : host.len;
	if (!port.len)
		return tmpl_text(lt_arena_str(r->arena, text, len), len);
	lt_buf_printf(&b, memchr(text, ':', len) ? "[%.*s]:%s" : "%.*s:%s", (int)len, text, port.s);
	return take(r, &b);
}

/* ---- escaping ---- */

struct tval tf_html(struct tmpl_run *r, const struct tval *a, size_t n)
{
	struct lt_buf b = {0}, out = {0};

	gofmt_sprint(&b, a, n);
	for (size_t i = 0; i < b.len; i++) {
		switch (b.data[i]) {
		case '"':
			lt_buf_str(&out, "&#34;");
			break;
		case '\'':
			lt_buf_str(&out, "&#39;");
			break;
		case '&':
			lt_buf_str(&out, "&amp;");
			break;
		case '<':
			lt_buf_str(&out, "&lt;");
			break;
		case '>':
			lt_buf_str(&out, "&gt;");
			break;
		default:
			lt_buf_char(&out, b.data[i]);
			break;
		}
	}
	lt_buf_fini(&b);
	return take(r, &out);
}

void tmpl_query_escape(struct lt_buf *out, const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c == ' ')
			lt_buf_char(out, '+');
		else if (c < 0x80 && (isalnum(c) || strchr("-_.~", c)) && c)
			lt_buf_char(out, (char)c);
		else
			lt_buf_printf(out, "%%%02X", c);
	}
}

struct tval tf_urlquery(struct tmpl_run *r, const struct tval *a, size_t n)
{
	struct lt_buf b = {0}, out = {0};

	gofmt_sprint(&b, a, n);
	tmpl_query_escape(&out, b.data ? b.data : "", b.len);
	lt_buf_fini(&b);
	return take(r, &out);
}

static struct tval link_to(struct tmpl_run *r, const struct tval *a, int tab)
{
	struct lt_buf b = {0};

	lt_buf_str(&b, "/graph?g0.expr=");
	tmpl_query_escape(&b, a->s, a->len);
	lt_buf_printf(&b, "&g0.tab=%d", tab);
	return take(r, &b);
}

struct tval tf_graph_link(struct tmpl_run *r, const struct tval *a, size_t n)
{
	(void)n;
	return link_to(r, a, 0);
}

struct tval tf_table_link(struct tmpl_run *r, const struct tval *a, size_t n)
{
	(void)n;
	return link_to(r, a, 1);
}
