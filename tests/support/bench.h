/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_TESTS_BENCH_H
#define LATIDO_TESTS_BENCH_H

/*
 * Arguments and results of a benchmark program; tests/bench/README.md says what they mean. One
 * thread.
 */

enum bench_role { BENCH_SUBJECT = 0, BENCH_CEILING, BENCH_PEER };

struct bench_run {
	const char *name, *figure; /* the caller's */
	unsigned rounds;           /* how often each thing is measured, by turns */
	double seconds;            /* about how long one measurement takes */
	unsigned round;            /* the present one, from 1; the program counts it up */
	char conditions[200];
};

/**
 * bench_init() - read --rounds N and --seconds S, in this order of defaults
 *
 * Other arguments and a bad number end the program with 2 and its usage.
 */
void bench_init(struct bench_run *b, const char *name, const char *figure, unsigned rounds,
	double seconds, int argc, char **argv);
/** bench_case() - conditions of the results that follow; like printf(). */
void bench_case(struct bench_run *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** bench_result() - print one value of this round. */
void bench_result(const struct bench_run *b, const char *name, enum bench_role role,
	const char *unit, double value);

#endif
