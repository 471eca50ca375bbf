/* SPDX-License-Identifier: MIT */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "promql_int.h"

/*
 * Most patterns of alert rules are a few words with | between them; those are compared, not matched.
 * No just-in-time compiler: it knows no limit of memory, and services may not run code they wrote.
 */

struct lt_regex {
	pcre2_code *code; /* NULL: words */
	pcre2_match_context *context;
	pcre2_match_data *match;
	char *words; /* each with a NUL behind it */
	uint32_t n_words;
	char *pattern; /* for messages */
};

/* a|b|c without anything special. */
static bool only_words(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!s[i] || strchr("\\.+*?()[]{}^$", s[i]))
			return false;
	return true;
}

static void set_words(struct lt_regex *r, const char *s, size_t n)
{
	r->words = lt_strndup(s, n);
	r->n_words = 1;
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '|') {
			r->words[i] = '\0';
			r->n_words++;
		}
	}
}

struct lt_regex *pq_regex_new(
	const char *s, size_t n, const struct lt_promql_limits *limits, char *why, size_t why_size)
{
	struct lt_regex *r;
	struct lt_buf b = {0};
	pcre2_compile_context *cc;
	PCRE2_SIZE at;
	int code;

	if (n > limits->max_regex_bytes) {
		snprintf(why, why_size, "regular expression of %zu bytes, %u are allowed", n,
			limits->max_regex_bytes);
		return NULL;
	}
	lt_buf_str(&b, "\\A(?:");
	if (!pq_re2_to_pcre(s, n, &b, why, why_size)) {
		lt_buf_fini(&b);
		return NULL;
	}
	lt_buf_str(&b, ")\\z");
	r = lt_calloc(1, sizeof(*r));
	r->pattern = lt_strndup(s, n < 200 ? n : 200);
	if (only_words(s, n)) {
		set_words(r, s, n);
		lt_buf_fini(&b);
		return r;
	}
	cc = pcre2_compile_context_create(NULL);
	pcre2_set_newline(cc, PCRE2_NEWLINE_LF);
	r->code = pcre2_compile((PCRE2_SPTR)b.data, b.len,
		PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_ALT_CIRCUMFLEX |
			PCRE2_NEVER_BACKSLASH_C,
		&code, &at, cc);
	pcre2_compile_context_free(cc);
	lt_buf_fini(&b);
	if (!r->code) {
		char text[120];

		pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof(text));
		snprintf(why, why_size, "error parsing regexp: %s", text);
		pq_regex_free(r);
		return NULL;
	}
	r->match = pcre2_match_data_create_from_pattern(r->code, NULL);
	r->context = pcre2_match_context_create(NULL);
	pcre2_set_match_limit(r->context, limits->regex_match_limit);
	pcre2_set_depth_limit(r->context, limits->regex_match_limit);
	pcre2_set_heap_limit(r->context, limits->regex_heap_kib);
	return r;
}

void pq_regex_free(struct lt_regex *r)
{
	if (!r)
		return;
	pcre2_match_data_free(r->match);
	pcre2_match_context_free(r->context);
	pcre2_code_free(r->code);
	free(r->words);
	free(r->pattern);
	free(r);
}

/* Return: number of groups set plus one, 0: no match, or LT_EINVAL. */
static int run(struct lt_regex *r, const char *s, size_t n, struct lt_err *err)
{
	int rc = pcre2_match(r->code, (PCRE2_SPTR)s, n, 0, 0, r->match, r->context);

	if (rc > 0)
		return rc;
	if (rc == PCRE2_ERROR_NOMATCH)
		return 0;
	return lt_fail(err, LT_EINVAL, LT_CLS_POISON, "promql.regex",
		"regular expression \"%s\" gives up after too many steps on a value of %zu bytes: "
		"write it with fewer nested repetitions",
		r->pattern, n);
}

static bool is_word(const struct lt_regex *r, const char *s, size_t n)
{
	const char *w = r->words;

	for (uint32_t i = 0; i < r->n_words; i++) {
		size_t len = strlen(w);

		if (len == n && memcmp(w, s, n) == 0)
			return true;
		w += len + 1;
	}
	return false;
}

int pq_regex_match(struct lt_regex *r, const char *s, size_t n, struct lt_err *err)
{
	int rc;

	if (!r->code)
		return is_word(r, s, n);
	rc = run(r, s, n, err);
	return rc < 0 ? rc : rc > 0;
}

/* Group @name of the last match, by number or name; "" when there is none. */
static void put_group(
	struct lt_regex *r, const char *s, const char *name, size_t len, struct lt_buf *out)
{
	const PCRE2_SIZE *v = r->code ? pcre2_get_ovector_pointer(r->match) : NULL;
	long number = 0;
	char b[40];

	if (len >= sizeof(b))
		return;
	memcpy(b, name, len);
	b[len] = '\0';
	for (size_t i = 0; i < len && number >= 0; i++)
		number = b[i] >= '0' && b[i] <= '9' && number < 100000 ? number * 10 + (b[i] - '0')
								       : -1;
	if (!v) { /* words: the match is the whole */
		if (number == 0)
			lt_buf_str(out, s);
		return;
	}
	if (number < 0)
		number = pcre2_substring_number_from_name(r->code, (PCRE2_SPTR)b);
	if (number < 0 || (uint32_t)number >= pcre2_get_ovector_count(r->match) ||
		v[2 * number] == PCRE2_UNSET)
		return;
	lt_buf_add(out, s + v[2 * number], v[2 * number + 1] - v[2 * number]);
}

static bool name_char(char c)
{
	return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	       (c >= 'A' && c <= 'Z');
}

int pq_regex_expand(struct lt_regex *r, const char *s, size_t n, const char *tmpl, size_t tmpl_len,
	struct lt_buf *out, struct lt_err *err)
{
	int rc = r->code ? run(r, s, n, err) : is_word(r, s, n);

	if (rc <= 0)
		return rc;
	if (r->code && rc == 0)
		return 0;
	for (size_t i = 0; i < tmpl_len;) {
		size_t from, to;

		if (tmpl[i] != '$') {
			lt_buf_char(out, tmpl[i++]);
			continue;
		}
		if (i + 1 < tmpl_len && tmpl[i + 1] == '$') {
			lt_buf_char(out, '$');
			i += 2;
			continue;
		}
		from = i + 1;
		if (from < tmpl_len && tmpl[from] == '{') {
			from++;
			for (to = from; to < tmpl_len && name_char(tmpl[to]); to++)
				;
			if (to == from || to >= tmpl_len || tmpl[to] != '}') { /* not a reference */
				lt_buf_char(out, tmpl[i++]);
				continue;
			}
			i = to + 1;
		} else {
			for (to = from; to < tmpl_len && name_char(tmpl[to]); to++)
				;
			if (to == from) {
				lt_buf_char(out, tmpl[i++]);
				continue;
			}
			i = to;
		}
		put_group(r, s, tmpl + from, to - from, out);
	}
	return 1;
}
