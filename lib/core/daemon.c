/* SPDX-License-Identifier: MIT */
#include "latido/daemon.h"

#include <event2/event.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "latido/admin.h"
#include "latido/clock.h"
#include "latido/log.h"
#include "latido/stats.h"
#include "ready.h"
#include "sd_notify.h"

#define DEFAULT_CONFIG "/etc/latido/latido.yaml"
#define MAX_FILES      8
#define MAX_OVERRIDES  2
#define MAX_OPTIONS    32
#define DRAIN_GRACE_MS 2000 /* the drain itself keeps the limit; this catches one that hangs */

/* What lt_daemon_main() keeps beside the public context. */
static struct {
	struct lt_ctx ctx;
	struct lt_conf *conf;
	const char *files[MAX_FILES];
	size_t n_files;
	char *overrides[MAX_OVERRIDES];
	size_t n_overrides;
	struct lt_admin *admin;
	struct event *signals[3];
	struct lt_timer watchdog, drain_limit;
	int64_t watchdog_us;
	bool told_ready, check, print, sample;
	int64_t started_wall_ns;
} run;

static double uptime_start(void *p)
{
	(void)p;
	return (double)run.started_wall_ns / 1e9;
}

static const struct lt_stat process_stats[] = {
	{"latido_start_time_seconds", LT_STAT_GAUGE_FN, NULL,
		"When this process started, seconds since 1970.", NULL, uptime_start},
};

/* ---- command line ---- */

static void usage(const struct lt_daemon *d, FILE *out)
{
	fprintf(out,
		"Usage: %s [options]\n%s\n\n"
		"  -c, --config FILE         configuration; may be repeated, later files win\n"
		"                            (default: %s if it exists)\n"
		"      --check-config        check the configuration and exit\n"
		"      --print-config        print the effective configuration and where each\n"
		"                            value comes from, and exit\n"
		"      --print-sample-config print a commented configuration with all defaults\n"
		"      --log-level LEVEL     error, warn, info or debug\n"
		"      --log-format FORMAT   logfmt or json\n",
		d->name, d->synopsis, DEFAULT_CONFIG);
	for (size_t i = 0; i < d->n_options; i++) {
		char left[64];

		snprintf(left, sizeof(left), "--%s%s%s", d->options[i].name,
			d->options[i].arg ? " " : "", d->options[i].arg ? d->options[i].arg : "");
		fprintf(out, "      %-21s %s\n", left, d->options[i].help);
	}
	fprintf(out, "  -V, --version             print the version and exit\n"
		     "  -h, --help                print this and exit\n");
}

enum { OPT_CHECK = 256, OPT_PRINT, OPT_SAMPLE, OPT_LEVEL, OPT_FORMAT, OPT_OWN };

/* Arguments of an option that takes several. Return: false when none of that kind was given. */
static bool take_more(const struct lt_daemon *d, int argc, char **argv)
{
	for (size_t i = 0; i < d->n_options; i++) {
		const struct lt_option *o = &d->options[i];

		if (!o->more || !*o->value)
			continue;
		*o->n_more = (size_t)(argc - optind);
		*o->more = lt_calloc(*o->n_more, sizeof(char *));
		memcpy(*o->more, argv + optind, *o->n_more * sizeof(char *));
		return true;
	}
	return false;
}

/* Return: an exit code, or -1 to go on. */
static int parse_options(const struct lt_daemon *d, int argc, char **argv)
{
	struct option opts[MAX_OPTIONS] = {
		{"config", required_argument, NULL, 'c'},
		{"check-config", no_argument, NULL, OPT_CHECK},
		{"print-config", no_argument, NULL, OPT_PRINT},
		{"print-sample-config", no_argument, NULL, OPT_SAMPLE},
		{"log-level", required_argument, NULL, OPT_LEVEL},
		{"log-format", required_argument, NULL, OPT_FORMAT},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
	};
	int c;

	for (size_t i = 0; i < d->n_options; i++)
		opts[8 + i] = (struct option){d->options[i].name,
			d->options[i].arg ? required_argument : no_argument, NULL,
			OPT_OWN + (int)i};
	while ((c = getopt_long(argc, argv, "c:Vh", opts, NULL)) != -1) {
		switch (c) {
		case 'c':
			if (run.n_files == MAX_FILES) {
				fprintf(stderr, "%s: at most %d configuration files\n", d->name,
					MAX_FILES);
				return LT_EXIT_USAGE;
			}
			run.files[run.n_files++] = optarg;
			break;
		case OPT_CHECK:
			run.check = true;
			break;
		case OPT_PRINT:
			run.print = true;
			break;
		case OPT_SAMPLE:
			run.sample = true;
			break;
		case OPT_LEVEL:
		case OPT_FORMAT:
			if (run.n_overrides == MAX_OVERRIDES) {
				fprintf(stderr, "%s: --log-level and --log-format once each\n",
					d->name);
				return LT_EXIT_USAGE;
			}
			run.overrides[run.n_overrides++] = lt_asprintf(
				"log.%s=%s", c == OPT_LEVEL ? "level" : "format", optarg);
			break;
		case 'V':
			printf("%s %s\n", d->name, lt_daemon_version());
			return LT_EXIT_OK;
		case 'h':
			usage(d, stdout);
			return LT_EXIT_OK;
		case '?':
			fprintf(stderr, "Try '%s --help'.\n", d->name);
			return LT_EXIT_USAGE;
		default: {
			const struct lt_option *o = &d->options[c - OPT_OWN];

			if (o->arg)
				*o->value = optarg;
			else
				*o->flag = true;
		}
		}
	}
	if (optind < argc && !take_more(d, argc, argv)) {
		fprintf(stderr, "%s: unexpected argument '%s'\nTry '%s --help'.\n", d->name,
			argv[optind], d->name);
		return LT_EXIT_USAGE;
	}
	return -1;
}

/* ---- configuration ---- */

static struct lt_conf *load_config(struct lt_buf *errors)
{
	return lt_conf_load(&lt_config_schema, run.files, run.n_files, environ,
		(const char *const *)run.overrides, run.n_overrides, errors);
}

static int print_and_leave(void (*fill)(struct lt_buf *))
{
	struct lt_buf out = {0};

	fill(&out);
	fwrite(out.data, 1, out.len, stdout);
	lt_buf_fini(&out);
	return fflush(stdout) == 0 ? LT_EXIT_OK : LT_EXIT_FAILURE;
}

static void fill_sample(struct lt_buf *out)
{
	lt_conf_sample(&lt_config_schema, out);
}

static void fill_effective(struct lt_buf *out)
{
	lt_conf_print(run.conf, out);
}

/* Return: an exit code, or -1 to go on. */
static int configure(const struct lt_daemon *d)
{
	struct lt_buf errors = {0};

	if (run.sample)
		return print_and_leave(fill_sample);
	if (run.n_files == 0 && access(DEFAULT_CONFIG, F_OK) == 0)
		run.files[run.n_files++] = DEFAULT_CONFIG;
	run.conf = load_config(&errors);
	if (errors.len)
		fprintf(stderr, "%s", errors.data);
	lt_buf_fini(&errors);
	if (!run.conf)
		return LT_EXIT_CONFIG;
	run.ctx.conf = lt_conf_root(run.conf);
	if (run.print)
		return print_and_leave(fill_effective);
	if (run.check) {
		printf("configuration is valid\n");
		return LT_EXIT_OK;
	}
	lt_log_setup(d->comp, (enum lt_log_level)run.ctx.conf->log.level,
		(enum lt_log_format)run.ctx.conf->log.format);
	return -1;
}

static void reload(void)
{
	struct lt_buf errors = {0};
	struct lt_conf *fresh;

	lt_sd_notify("RELOADING=1\nMONOTONIC_USEC=%lld", (long long)(lt_mono_ns() / 1000));
	fresh = load_config(&errors);
	if (fresh) {
		const struct lt_config *conf = lt_conf_root(fresh);

		lt_log_set_level((enum lt_log_level)conf->log.level);
		if (run.ctx.daemon->reload)
			run.ctx.daemon->reload(&run.ctx, conf);
		lt_log(LT_INFO, "config_reloaded");
		lt_conf_free(fresh);
	} else {
		lt_log(LT_ERROR, "config_reload_failed", LT_S("kept", "old"),
			LT_S("err", errors.data));
	}
	lt_buf_fini(&errors);
	lt_sd_notify("READY=1");
}

/* ---- life ---- */

static void on_ready_change(void)
{
	bool all = lt_ready_all();

	if (all && !run.told_ready) {
		run.told_ready = true;
		lt_log(LT_INFO, "ready");
		lt_sd_notify("READY=1\nSTATUS=ready");
	} else if (run.told_ready) {
		lt_sd_notify("STATUS=%s", all ? "ready" : "degraded; see /readyz");
	}
}

static void on_watchdog(void *arg)
{
	(void)arg;
	lt_sd_notify("WATCHDOG=1");
	lt_timer_start_ns(&run.watchdog, run.watchdog_us * 1000 / 2);
}

static void on_drain_limit(void *arg)
{
	(void)arg;
	lt_log(LT_ERROR, "drain_timeout",
		LT_I("limit_ms", run.ctx.daemon->drain_timeout_ms(run.ctx.conf)));
	_exit(LT_EXIT_KILLED);
}

static void on_signal(evutil_socket_t sig, short what, void *arg)
{
	struct lt_ctx *ctx = arg;

	(void)what;
	if (sig == SIGHUP) {
		if (!ctx->draining)
			reload();
		return;
	}
	if (ctx->draining) {
		lt_log(LT_WARN, "stopped_at_once", LT_S("signal", strsignal((int)sig)));
		_exit(LT_EXIT_KILLED);
	}
	ctx->draining = true;
	lt_log(LT_INFO, "draining", LT_S("signal", strsignal((int)sig)));
	lt_sd_notify("STOPPING=1\nSTATUS=draining");
	lt_timer_start_ns(&run.drain_limit,
		(ctx->daemon->drain_timeout_ms(ctx->conf) + DRAIN_GRACE_MS) * LT_NS_PER_MS);
	ctx->daemon->drain(ctx);
}

void lt_daemon_drained(struct lt_ctx *ctx)
{
	lt_loop_stop(&ctx->loop);
}

int lt_exit_code(const struct lt_err *err)
{
	return err->cls == LT_CLS_CONFIG ? LT_EXIT_CONFIG : LT_EXIT_FAILURE;
}

void lt_daemon_fail(struct lt_ctx *ctx, const struct lt_err *err)
{
	lt_log(LT_ERROR, "failed", LT_S("op", err->op), LT_S("err", err->msg));
	ctx->exit_code = lt_exit_code(err);
	lt_loop_stop(&ctx->loop);
}

static int start(struct lt_ctx *ctx, struct lt_err *err)
{
	static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
	const struct lt_daemon *d = ctx->daemon;
	const char *listen;
	int rc;

	rc = lt_loop_init(&ctx->loop, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < LT_ARRAY_LEN(numbers); i++) {
		run.signals[i] = evsignal_new(ctx->loop.base, numbers[i], on_signal, ctx);
		evsignal_add(run.signals[i], NULL);
	}
	lt_timer_init(&run.drain_limit, &ctx->loop, on_drain_limit, NULL);
	lt_timer_init(&run.watchdog, &ctx->loop, on_watchdog, NULL);
	run.watchdog_us = lt_sd_watchdog_us();
	if (run.watchdog_us > 0)
		on_watchdog(NULL);
	listen = d->admin_listen ? d->admin_listen(ctx->conf) : "";
	if (*listen) {
		run.admin = lt_admin_new(&ctx->loop, listen, err);
		if (!run.admin)
			return err->code;
		lt_log(LT_INFO, "admin_listening", LT_S("address", listen),
			LT_I("port", lt_admin_port(run.admin)));
	}
	return d->start(ctx, err);
}

static void stop(struct lt_ctx *ctx)
{
	if (ctx->daemon->fini)
		ctx->daemon->fini(ctx);
	lt_admin_free(run.admin);
	for (size_t i = 0; i < LT_ARRAY_LEN(run.signals); i++)
		if (run.signals[i])
			event_free(run.signals[i]);
	lt_timer_fini(&run.drain_limit);
	lt_timer_fini(&run.watchdog);
	lt_loop_fini(&ctx->loop);
	lt_stats_clear();
	lt_ready_reset(NULL);
}

int lt_daemon_main(const struct lt_daemon *d, int argc, char **argv)
{
	struct lt_ctx *ctx = &run.ctx;
	struct lt_err err = {0};
	int code;

	ctx->daemon = d;
	run.started_wall_ns = lt_wall_ns();
	signal(SIGPIPE, SIG_IGN);
	code = parse_options(d, argc, argv);
	if (code < 0)
		code = configure(d);
	if (code < 0 && d->command)
		code = d->command(ctx);
	if (code < 0) {
		lt_ready_reset(on_ready_change);
		lt_stats_add(process_stats, LT_ARRAY_LEN(process_stats));
		lt_log(LT_INFO, "started", LT_S("version", lt_daemon_version()),
			LT_I("pid", getpid()));
		if (start(ctx, &err) < 0) {
			lt_log(LT_ERROR, "start_failed", LT_S("op", err.op), LT_S("err", err.msg));
			ctx->exit_code = lt_exit_code(&err);
		} else {
			lt_loop_run(&ctx->loop);
		}
		stop(ctx);
		code = ctx->exit_code;
		lt_log(code ? LT_ERROR : LT_INFO, "stopped", LT_I("exit", code));
	}
	lt_conf_free(run.conf);
	for (size_t i = 0; i < run.n_overrides; i++)
		free(run.overrides[i]);
	return code;
}
