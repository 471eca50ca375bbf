/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "conf_priv.h"

static void upper(char *s)
{
	for (; *s; s++)
		*s = *s == '.' ? '_' : (char)toupper((unsigned char)*s);
}

const char *lt_conf_env_name(
	const struct lt_conf_schema *s, const struct lt_conf_ref *ref, char out[LT_CONF_NAME_MAX])
{
	char path[LT_CONF_NAME_MAX];

	/* names are ours and short; the test of the schema sees to that */
	snprintf(out, LT_CONF_NAME_MAX, "%s_%.*s", s->env_prefix, LT_CONF_NAME_MAX - 16,
		lt_conf_path(ref, path));
	upper(out);
	return out;
}

/* Calls @fn for each name that the environment may hold, until it returns true. */
static bool each_name(const struct lt_conf_schema *s,
	bool (*fn)(void *arg, const struct lt_conf_ref *ref, const char *name), void *arg)
{
	char name[LT_CONF_NAME_MAX];

	for (size_t i = 0; i < s->n_sections; i++) {
		for (size_t j = 0; j < s->sections[i]->n_keys; j++) {
			struct lt_conf_ref ref = lt_conf_ref_at(s, i, j);

			if (fn(arg, &ref, lt_conf_env_name(s, &ref, name)))
				return true;
			ref.file = true;
			if ((ref.key->flags & LT_CONF_SECRET) &&
				fn(arg, &ref, lt_conf_env_name(s, &ref, name)))
				return true;
		}
	}
	return false;
}

struct search {
	const char *name;
	size_t len;
	struct lt_conf_ref ref;
	struct lt_conf_guess guess;
	unsigned closest;
	char best[LT_CONF_NAME_MAX];
	size_t skip; /* "LATIDO_": not counted when names are compared */
};

static bool is_name(void *arg, const struct lt_conf_ref *ref, const char *name)
{
	struct search *s = arg;

	s->ref = *ref;
	return strlen(name) == s->len && !memcmp(name, s->name, s->len);
}

static bool guess_name(void *arg, const struct lt_conf_ref *ref, const char *name)
{
	struct search *s = arg;

	(void)ref;
	lt_conf_guess_try(&s->guess, name + s->skip, strlen(name + s->skip));
	if (s->guess.distance < s->closest) {
		s->closest = s->guess.distance;
		snprintf(s->best, sizeof(s->best), "%s", name);
	}
	return false;
}

static bool has_section(const struct lt_conf_schema *s, const char *rest, size_t len)
{
	for (size_t i = 0; i < s->n_sections; i++) {
		const char *name = s->sections[i]->name;
		size_t n = strlen(name);

		if (len > n && !strncasecmp(rest, name, n) && rest[n] == '_')
			return true;
	}
	return false;
}

/* Others use LATIDO_* names too: a name is ours when it starts like a section or is nearly a key. */
static void say_unknown(struct lt_conf_run *run, struct search *s, const struct lt_conf_pos *pos)
{
	const struct lt_conf_schema *schema = run->conf->schema;
	bool ours = has_section(schema, s->name + s->skip, s->len - s->skip);

	lt_conf_guess_init(&s->guess, s->name + s->skip, s->len - s->skip);
	s->closest = s->guess.distance;
	each_name(schema, guess_name, s);
	if (s->best[0] && (ours || s->closest <= 2))
		lt_conf_say(run, LT_CONF_WARNING, pos, NULL, true,
			"names no configuration key and is ignored; did you mean %s?", s->best);
	else if (ours)
		lt_conf_say(run, LT_CONF_WARNING, pos, NULL, true,
			"names no configuration key and is ignored; latido.yaml(5) lists them");
}

static void apply_variable(
	struct lt_conf_run *run, const char *var, const char *eq, unsigned layer, size_t skip)
{
	struct search s = {.name = var, .len = (size_t)(eq - var), .skip = skip};
	struct lt_conf_pos pos = {.line = 1, .col = s.len + 2};
	char label[LT_CONF_NAME_MAX];

	snprintf(label, sizeof(label), "env %.*s", (int)(s.len < 100 ? s.len : 100), var);
	pos.src = lt_conf_add_source(run, LT_CONF_FROM_ENV, layer, label, var, strlen(var));
	if (!each_name(run->conf->schema, is_name, &s))
		say_unknown(run, &s, &pos);
	else if (lt_conf_take(run, &s.ref, &pos))
		lt_conf_set_text(run, &s.ref, &pos, eq + 1, strlen(eq + 1), LT_FORM_BARE);
}

void lt_conf_apply_env(struct lt_conf_run *run, char **environ_, unsigned layer)
{
	const char *prefix = run->conf->schema->env_prefix;
	size_t n = strlen(prefix);

	for (; *environ_; environ_++) {
		const char *var = *environ_, *eq = strchr(var, '=');

		if (eq && !strncmp(var, prefix, n) && var[n] == '_')
			apply_variable(run, var, eq, layer, n + 1);
	}
}

static void apply_override(struct lt_conf_run *run, const char *text, unsigned layer)
{
	struct lt_conf_pos pos = {.line = 1, .col = 1};
	const char *dot = strchr(text, '.'), *eq = strchr(text, '=');
	const struct lt_conf_section *section = NULL;
	struct lt_conf_ref ref;
	char name[LT_CONF_NAME_MAX] = "", q[96];

	pos.src = lt_conf_add_source(
		run, LT_CONF_FROM_COMMAND, layer, "command line", text, strlen(text));
	if (!dot || !eq || dot > eq) {
		lt_conf_say(run, LT_CONF_ERROR, &pos, NULL, true, "expected SECTION.KEY=VALUE");
		return;
	}
	if ((size_t)(eq - text) < sizeof(name)) {
		memcpy(name, text, (size_t)(eq - text));
		name[dot - text] = '\0';
		section = lt_conf_find_section(run->conf->schema, name);
	}
	if (!section || !lt_conf_find(run->conf->schema, section, name + (dot - text) + 1, &ref)) {
		lt_conf_say(run, LT_CONF_ERROR, &pos, NULL, true, "unknown key %s",
			lt_conf_quote(text, (size_t)(eq - text), q));
		return;
	}
	pos.col = (size_t)(eq - text) + 2;
	if (lt_conf_take(run, &ref, &pos))
		lt_conf_set_text(run, &ref, &pos, eq + 1, strlen(eq + 1), LT_FORM_BARE);
}

void lt_conf_apply_overrides(
	struct lt_conf_run *run, const char *const *overrides, size_t n, unsigned layer)
{
	for (size_t i = 0; i < n; i++)
		apply_override(run, overrides[i], layer);
}
