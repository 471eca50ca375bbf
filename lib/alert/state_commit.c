/* SPDX-License-Identifier: MIT */
#include "state_commit.h"

#include <stdlib.h>
#include <string.h>

/* Words: S key field value, D key field or C key, as often as need be. */
const char lt_commit_script[] = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end\n"
				"local i = 2\n"
				"while ARGV[i] do\n"
				"  local o, k = ARGV[i], ARGV[i + 1]\n"
				"  if o == 'S' then\n"
				"    redis.call('HSET', k, ARGV[i + 2], ARGV[i + 3])\n"
				"    i = i + 4\n"
				"  elseif o == 'D' then\n"
				"    redis.call('HDEL', k, ARGV[i + 2])\n"
				"    i = i + 3\n"
				"  else\n"
				"    redis.call('DEL', k)\n"
				"    i = i + 2\n"
				"  end\n"
				"end\n"
				"return 1\n";

struct lt_commit *lt_commit_new(void)
{
	return lt_calloc(1, sizeof(struct lt_commit));
}

void lt_commit_free(struct lt_commit *c)
{
	if (!c)
		return;
	lt_buf_fini(&c->text);
	free(c->words);
	free(c);
}

struct lt_commit_word lt_commit_put(struct lt_commit *c, const void *p, size_t n)
{
	struct lt_commit_word w = {c->text.len, n};

	lt_buf_add(&c->text, p, n);
	lt_buf_char(&c->text, '\0');
	return w;
}

static void add_word(struct lt_commit *c, const void *p, size_t n)
{
	if (c->n == c->cap) {
		c->cap = c->cap ? c->cap * 2 : 8;
		c->words = lt_realloc(c->words, c->cap * sizeof(*c->words));
	}
	c->words[c->n++] = lt_commit_put(c, p, n);
}

static void add_text(struct lt_commit *c, const char *text)
{
	add_word(c, text, strlen(text));
}

void lt_commit_set(
	struct lt_commit *c, const char *key, const char *field, const void *value, size_t len)
{
	add_text(c, "S");
	add_text(c, key);
	add_text(c, field);
	add_word(c, value, len);
}

void lt_commit_del(struct lt_commit *c, const char *key, const char *field)
{
	add_text(c, "D");
	add_text(c, key);
	add_text(c, field);
}

void lt_commit_clear(struct lt_commit *c, const char *key)
{
	add_text(c, "C");
	add_text(c, key);
}

void lt_commit_args(const struct lt_commit *c, struct lt_redis_cmd *cmd)
{
	for (size_t i = 0; i < c->n; i++)
		lt_redis_arg(cmd, c->text.data + c->words[i].at, c->words[i].len);
}
