/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "latido/config.h"

/*
 * Writes what is generated from the tables of lib/conf: the annotated sample configuration, or the
 * reference page, whose fixed text is a template with a line "@KEYS@". Run by `make docs`.
 */

#define KEYS_LINE "@KEYS@\n"

static int put_page(const char *path)
{
	struct lt_buf keys = {0};
	char *line = NULL;
	size_t cap = 0, places = 0;
	FILE *in = fopen(path, "re");

	if (!in) {
		fprintf(stderr, "confdoc: %s: %s\n", path, strerror(errno));
		return 1;
	}
	lt_conf_man(&lt_config_schema, &keys);
	while (getline(&line, &cap, in) > 0) {
		if (strcmp(line, KEYS_LINE) != 0) {
			fputs(line, stdout);
			continue;
		}
		fputs(keys.data, stdout);
		places++;
	}
	free(line);
	fclose(in);
	lt_buf_fini(&keys);
	if (places != 1) {
		fprintf(stderr, "confdoc: %s: expected one line %s", path, KEYS_LINE);
		return 1;
	}
	return 0;
}

static int put_sample(void)
{
	struct lt_buf out = {0};

	lt_conf_sample(&lt_config_schema, &out);
	fputs(out.data, stdout);
	lt_buf_fini(&out);
	return 0;
}

int main(int argc, char **argv)
{
	int rc;

	if (argc == 2 && !strcmp(argv[1], "sample"))
		rc = put_sample();
	else if (argc == 3 && !strcmp(argv[1], "page"))
		rc = put_page(argv[2]);
	else {
		fprintf(stderr, "Usage: confdoc sample | confdoc page TEMPLATE\n");
		return 2;
	}
	if (fflush(stdout) != 0) {
		perror("confdoc");
		return 1;
	}
	return rc;
}
