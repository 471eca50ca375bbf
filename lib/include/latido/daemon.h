/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_DAEMON_H
#define LATIDO_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "latido/config.h"
#include "latido/loop.h"

/** Exit codes of every program. */
enum lt_exit {
	LT_EXIT_OK = 0,
	LT_EXIT_FAILURE = 1,
	LT_EXIT_USAGE = 2,
	LT_EXIT_KILLED = 3,  /* a second SIGTERM or SIGINT, or the drain limit, ended it */
	LT_EXIT_CONFIG = 78, /* EX_CONFIG: do not restart, a human must change the configuration */
};

/** struct lt_ctx - what a running daemon has; lives as long as lt_daemon_main(). */
struct lt_ctx {
	struct lt_loop loop;
	struct lt_config *conf;
	const struct lt_daemon *daemon;
	bool draining;
	int exit_code;
	void *priv; /* the program's own state */
};

/** struct lt_option - a long option of one program beside the common ones */
struct lt_option {
	const char *name; /* without dashes */
	const char *arg;  /* NULL: a flag; else the placeholder shown by --help */
	const char *help;
	bool *flag;         /* set to true, or */
	const char **value; /* set to the argument */
	/* FILE...: when the option was given, arguments behind the options belong to it, too;
	 * pointers into argv, the array is the program's to free. NULL: none are taken. */
	char ***more;
	size_t *n_more;
};

/**
 * struct lt_daemon - one program, described
 *
 * Every daemon has: -c/--config FILE, --check-config, --print-config, --print-sample-config,
 * --log-level L, --log-format F, -V/--version, -h/--help; its admin listener; sd_notify (READY,
 * STATUS, WATCHDOG, RELOADING, STOPPING); SIGHUP, SIGTERM, SIGINT.
 */
struct lt_daemon {
	const char *name;     /* "latido-store" */
	const char *comp;     /* "store": log component and configuration section */
	const char *synopsis; /* one line for --help */
	const struct lt_option *options;
	size_t n_options;
	const char *(*admin_listen)(const struct lt_config *conf); /* "" = no admin listener */
	int64_t (*drain_timeout_ms)(const struct lt_config *conf);
	/* Before the loop exists, after the configuration is read: options that do one thing and
	 * leave. Return: an exit code, or -1 to go on. May be NULL. */
	int (*command)(struct lt_ctx *ctx);
	/* On the loop's thread; connects asynchronously. A peer that is down is not an error. */
	int (*start)(struct lt_ctx *ctx, struct lt_err *err);
	/* A new configuration was read and is valid; take over keys marked reloadable. May be NULL. */
	void (*reload)(struct lt_ctx *ctx, const struct lt_config *fresh);
	/* First SIGTERM/SIGINT: take no more in, finish what is there, then lt_daemon_drained(). */
	void (*drain)(struct lt_ctx *ctx);
	/* After the loop ended, also when start() failed; frees everything. */
	void (*fini)(struct lt_ctx *ctx);
};

/** lt_daemon_main() - the whole life of a daemon. Return: the process's exit code. */
int lt_daemon_main(const struct lt_daemon *d, int argc, char **argv);

/** lt_daemon_drained() - draining is complete; the loop ends with exit_code. */
void lt_daemon_drained(struct lt_ctx *ctx);
/** lt_daemon_fail() - cannot go on: logs @err once, drains nothing more, exits as it deserves. */
void lt_daemon_fail(struct lt_ctx *ctx, const struct lt_err *err);
/** lt_exit_code() - what a program that ends with @err exits with. */
int lt_exit_code(const struct lt_err *err);

/**
 * lt_ready_set() - state of one dependency for /readyz and sd_notify(READY=1)
 * @what: static name ("mqtt", "postgres", "redis").
 * @reason: shown while not ready; copied.
 *
 * The daemon is ready when everything that was ever named here is. Loop thread only.
 */
void lt_ready_set(const char *what, bool ready, const char *reason);

/** lt_daemon_version() - "0.1.0 (abc1234)". */
const char *lt_daemon_version(void);

#endif
