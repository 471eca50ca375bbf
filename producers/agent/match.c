/* SPDX-License-Identifier: MIT */
#include "match.h"

#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "latido/mem.h"

struct lt_match {
	bool any;
	regex_t re;
};

/* POSIX knows no \d; inside brackets it would not be a class of its own either, so there it is the
 * bare range. */
static char *translate(const char *s)
{
	struct lt_buf b = {0};
	bool brackets = false;

	lt_buf_str(&b, "");
	for (; *s; s++) {
		if (s[0] == '\\' && s[1] == 'd') {
			lt_buf_str(&b, brackets ? "0-9" : "[0-9]");
			s++;
		} else if (s[0] == '\\' && s[1] && !brackets) {
			lt_buf_char(&b, *s++);
			lt_buf_char(&b, *s);
		} else {
			if (!brackets && *s == '[') {
				brackets = true;
				lt_buf_char(&b, *s);
				if (s[1] == '^')
					lt_buf_char(&b, *++s);
				if (s[1] == ']') /* a literal one */
					lt_buf_char(&b, *++s);
				continue;
			}
			if (brackets && *s == ']')
				brackets = false;
			lt_buf_char(&b, *s);
		}
	}
	return b.data;
}

struct lt_match *lt_match_new(const char *key, const char *expression, struct lt_err *err)
{
	struct lt_match *m = lt_calloc(1, sizeof(*m));
	char *posix, why[128];
	int rc;

	if (!*expression)
		return m;
	posix = translate(expression);
	rc = regcomp(&m->re, posix, REG_EXTENDED | REG_NOSUB);
	free(posix);
	if (rc == 0) {
		m->any = true;
		return m;
	}
	regerror(rc, &m->re, why, sizeof(why));
	free(m);
	lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "agent.match",
		"%s: \"%s\" is not a POSIX extended regular expression: %s; empty matches nothing",
		key, expression, why);
	return NULL;
}

void lt_match_free(struct lt_match *m)
{
	if (!m)
		return;
	if (m->any)
		regfree(&m->re);
	free(m);
}

bool lt_match(const struct lt_match *m, const char *s)
{
	return m->any && regexec(&m->re, s, 0, NULL, 0) == 0;
}
