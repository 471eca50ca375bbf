/* SPDX-License-Identifier: MIT */
#include "bench.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void usage(const struct bench_run *b)
{
	fprintf(stderr, "usage: %s_bench [--rounds N] [--seconds S]\n", b->name);
	exit(2);
}

void bench_init(struct bench_run *b, const char *name, const char *figure, unsigned rounds,
	double seconds, int argc, char **argv)
{
	*b = (struct bench_run){
		.name = name, .figure = figure, .rounds = rounds, .seconds = seconds, .round = 1};
	for (int i = 1; i < argc; i += 2) {
		char *end = NULL;

		if (i + 1 == argc)
			usage(b);
		if (!strcmp(argv[i], "--rounds"))
			b->rounds = (unsigned)strtoul(argv[i + 1], &end, 10);
		else if (!strcmp(argv[i], "--seconds"))
			b->seconds = strtod(argv[i + 1], &end);
		if (!end || *end || end == argv[i + 1] || b->rounds == 0 || !(b->seconds > 0))
			usage(b);
	}
}

void bench_case(struct bench_run *b, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(b->conditions, sizeof(b->conditions), format, ap);
	va_end(ap);
}

static void put_text(const char *key, const char *text)
{
	printf("\"%s\": \"", key);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			putchar('\\');
		putchar(*text);
	}
	printf("\", ");
}

void bench_result(const struct bench_run *b, const char *name, enum bench_role role,
	const char *unit, double value)
{
	static const char *const roles[] = {"subject", "ceiling", "peer"};

	putchar('{');
	put_text("bench", b->name);
	put_text("figure", b->figure);
	put_text("case", b->conditions);
	put_text("name", name);
	put_text("role", roles[role]);
	put_text("unit", unit);
	printf("\"value\": %.9g, \"round\": %u}\n", value, b->round);
	fflush(stdout);
}
