/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "conf_priv.h"

/* Text that scdoc takes as it is: every character with a meaning there is escaped. */
static void put_text(struct lt_buf *out, const char *s)
{
	for (; *s; s++) {
		if (strchr("\\*_`#[]|<>.~^", *s))
			lt_buf_char(out, '\\');
		lt_buf_char(out, *s);
	}
}

static void put_default(struct lt_buf *out, const struct lt_conf_key *key)
{
	if (!key->def[0]) {
		lt_buf_str(out, "empty");
		return;
	}
	lt_buf_char(out, '_');
	put_text(out, key->def);
	lt_buf_char(out, '_');
}

static void put_key(
	struct lt_buf *out, const struct lt_conf_schema *schema, const struct lt_conf_ref *ref)
{
	struct lt_buf text = {0};
	char name[LT_CONF_NAME_MAX];

	lt_buf_char(out, '*');
	put_text(out, lt_conf_path(ref, name));
	lt_buf_str(out, "*\n\t");
	put_text(out, ref->key->help);
	lt_buf_str(out, "++\nType: ");
	lt_conf_put_kind(&text, ref->key);
	put_text(out, text.data);
	lt_buf_str(out, ". Default: ");
	put_default(out, ref->key);
	lt_buf_str(out, ". Environment: ");
	put_text(out, lt_conf_env_name(schema, ref, name));
	lt_buf_char(out, '.');
	if (ref->key->flags & LT_CONF_RELOAD)
		lt_buf_str(out, " SIGHUP takes a change over.");
	if (ref->key->flags & LT_CONF_SECRET) {
		struct lt_conf_ref file = *ref;

		file.file = true;
		lt_buf_str(out, "++\nSecret; better in a file of its own: *");
		put_text(out, lt_conf_path(&file, name));
		lt_buf_str(out, "* (");
		put_text(out, lt_conf_env_name(schema, &file, name));
		lt_buf_printf(out,
			") names one that holds the secret alone, in at most %d bytes; "
			"the end of its line is not part of it.",
			LT_CONF_SECRET_MAX_BYTES);
	}
	lt_buf_str(out, "\n\n");
	lt_buf_fini(&text);
}

void lt_conf_man(const struct lt_conf_schema *schema, struct lt_buf *out)
{
	for (size_t i = 0; i < schema->n_sections; i++) {
		const struct lt_conf_section *section = schema->sections[i];

		lt_buf_str(out, "## ");
		put_text(out, section->name);
		lt_buf_str(out, "\n\n");
		put_text(out, section->help);
		lt_buf_str(out, "\n\n");
		for (size_t j = 0; j < section->n_keys; j++) {
			struct lt_conf_ref ref = lt_conf_ref_at(schema, i, j);

			put_key(out, schema, &ref);
		}
	}
}
