/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "latido/rules.h"

/* rules_tool check|test FILE...: the functions behind latido-alert --check-rules and --test-rules. */
int main(int argc, char **argv)
{
	struct lt_buf out = {0};
	int code;

	if (argc < 3) {
		fprintf(stderr, "usage: rules_tool check|test FILE...\n");
		return 2;
	}
	if (!strcmp(argv[1], "check"))
		code = lt_rules_check((const char *const *)argv + 2, (size_t)argc - 2, NULL, &out);
	else
		code = lt_rules_test((const char *const *)argv + 2, (size_t)argc - 2, NULL, &out);
	fwrite(out.data, 1, out.len, stdout);
	lt_buf_fini(&out);
	return code ? 1 : 0;
}
