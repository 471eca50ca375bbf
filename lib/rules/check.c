/* SPDX-License-Identifier: MIT */
#include "rules_int.h"

int lt_rules_check(const char *const *globs, size_t n_globs, const struct lt_rules_opts *opts,
	struct lt_buf *out)
{
	struct lt_label_pool *pool = lt_label_pool_new();
	struct lt_rules *r = rules_new(pool, opts);
	struct report rep;
	size_t n_rules = 0, n_errors;

	report_init(&rep, out);
	rules_read(r, &rep, globs, n_globs);
	n_errors = rep.n_errors;
	report_flush(&rep);
	for (size_t i = 0; i < r->n_groups; i++)
		n_rules += r->groups[i]->pub.n_rules;
	if (!n_errors && !r->n_files) { /* a mistyped pattern must not pass */
		lt_buf_str(out, "FAILED: no rule file\n");
		n_errors = 1;
	} else if (n_errors) {
		lt_buf_printf(out, "FAILED: %zu error%s\n", n_errors, n_errors == 1 ? "" : "s");
	} else {
		lt_buf_printf(out, "SUCCESS: %zu rule%s in %zu group%s of %zu file%s\n", n_rules,
			n_rules == 1 ? "" : "s", r->n_groups, r->n_groups == 1 ? "" : "s",
			r->n_files, r->n_files == 1 ? "" : "s");
	}
	report_fini(&rep);
	lt_rules_free(r);
	lt_label_pool_free(pool);
	return n_errors ? LT_ECONF : LT_OK;
}
