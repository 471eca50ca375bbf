/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "latido/log.h"
#include "load.h"

/* A number with its unit; @end: behind it. */
static bool scan_duration(const char *s, const char **end, int64_t *ns)
{
	static const struct {
		const char *unit;
		double ns;
	} units[] = {
		{"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}, {"d", 86400e9}};
	char *p;
	double v = strtod(s, &p);

	if (p == s || !isfinite(v) || v < 0)
		return false;
	for (size_t i = 0; i < LT_ARRAY_LEN(units); i++) {
		size_t n = strlen(units[i].unit);

		if (strncmp(p, units[i].unit, n) || (p[n] && p[n] != '.'))
			continue;
		if (v * units[i].ns > 365 * 86400e9)
			return false;
		*ns = (int64_t)(v * units[i].ns);
		*end = p + n;
		return true;
	}
	*ns = 0;
	*end = p;
	return v == 0;
}

bool load_duration(const struct cli_command *cmd, const char *option, const char *text, int64_t *ns)
{
	const char *end;

	if (scan_duration(text, &end, ns) && *end == '\0')
		return true;
	cli_usage(cmd, "%s: expected a duration like 250ms, 90s, 3m or 1h, got '%s'", option, text);
	return false;
}

bool load_interval(const struct cli_command *cmd, const char *option, const char *text,
	int64_t *min_ns, int64_t *max_ns)
{
	const char *end;
	bool good = scan_duration(text, &end, min_ns);

	*max_ns = *min_ns;
	if (good && strncmp(end, "..", 2) == 0)
		good = scan_duration(end + 2, &end, max_ns);
	if (good && *end == '\0' && *min_ns > 0 && *max_ns >= *min_ns)
		return true;
	cli_usage(cmd, "%s: expected an interval like 1s, or 1s..4s, got '%s'", option, text);
	return false;
}

static bool choose_ack(const struct cli_command *cmd, const char *text, enum load_ack *ack)
{
	static const char *const names[] = {"auto", "store", "broker"};

	for (size_t i = 0; i < LT_ARRAY_LEN(names); i++)
		if (!strcmp(text, names[i])) {
			*ack = (enum load_ack)i;
			return true;
		}
	cli_usage(cmd, "--ack: expected auto, store or broker, got '%s'", text);
	return false;
}

static bool whole(
	const struct cli_command *cmd, const char *option, double min, double max, uint64_t *out)
{
	double v;

	if (!cli_number(cmd, option, optarg, min, max, &v))
		return false;
	*out = (uint64_t)v;
	return true;
}

int load_option(struct cli *cli, const struct cli_command *cmd, struct load_plan *plan,
	struct load_words *words, int c)
{
	uint64_t n = 0;
	bool good = true;

	switch (c) {
	case 's':
		good = whole(cmd, "--sources", 1, LOAD_SOURCES_MAX, &n);
		plan->sources = (uint32_t)n;
		break;
	case 'i':
		good = load_interval(
			cmd, "--interval", optarg, &plan->interval_min_ns, &plan->interval_max_ns);
		break;
	case 'r':
		good = cli_number(cmd, "--rate", optarg, 0.001, 1e7, &words->rate);
		break;
	case 'F':
		words->flat_out = true;
		break;
	case 'n':
		good = whole(cmd, "--count", 1, 1e12, &plan->count);
		break;
	case 'd':
		good = load_duration(cmd, "--duration", optarg, &plan->duration_ns);
		break;
	case 'B':
		if (words->n_buses == LOAD_PATHS_MAX)
			return cli_usage(cmd, "--bus: at most %d", LOAD_PATHS_MAX);
		words->buses[words->n_buses++] = optarg;
		break;
	case 'C':
		good = whole(cmd, "--connections", 1, 64, &n);
		plan->connections = (unsigned)n;
		break;
	case 'A':
		good = choose_ack(cmd, optarg, &plan->ack);
		break;
	case 'D':
		good = load_duration(cmd, "--drain", optarg, &plan->drain_ns);
		break;
	case 'R':
		good = load_duration(cmd, "--resend", optarg, &plan->resend_ns);
		break;
	case 'j':
		plan->json = true;
		break;
	case 'p':
		plan->prefix = optarg;
		break;
	case 'S':
		good = whole(cmd, "--seed", 0, 1e15, &plan->seed);
		break;
	case 'o':
		plan->report = optarg;
		break;
	case 'q':
		plan->quiet = true;
		break;
	case 'O':
		words->own = true;
		break;
	default:
		return cli_option(cli, cmd, c);
	}
	return good ? -1 : LT_EXIT_USAGE;
}

/* The path's own configuration: the common one with another bus. */
static int configure_path(struct load_path *p, const struct cli *from, const char *url)
{
	int code;

	p->cli = lt_calloc(1, sizeof(*p->cli));
	memcpy(p->cli->files, from->files, sizeof(p->cli->files));
	p->cli->n_files = from->n_files;
	for (size_t i = 0; i < from->n_overrides; i++)
		p->cli->overrides[p->cli->n_overrides++] = lt_strdup(from->overrides[i]);
	if (url)
		cli_override(p->cli, "bus.url", url);
	code = cli_configure(p->cli);
	if (code < 0) {
		p->conf = p->cli->conf;
		p->url = p->conf->bus.url;
	}
	return code;
}

static int settle_pace(
	const struct cli_command *cmd, struct load_plan *plan, const struct load_words *words)
{
	int said = (words->rate > 0) + words->flat_out + (plan->interval_min_ns > 0);

	if (said > 1)
		return cli_usage(cmd, "one of --interval, --rate and --flat-out");
	if (words->rate > 0) {
		plan->interval_min_ns = (int64_t)(1e9 * plan->sources / words->rate);
		plan->interval_max_ns = plan->interval_min_ns;
	} else if (said == 0) {
		plan->interval_min_ns = plan->interval_max_ns = LT_NS_PER_S;
	}
	return -1;
}

int load_settle(struct cli *cli, const struct cli_command *cmd, struct load_plan *plan,
	struct load_words *words)
{
	size_t n = words->n_buses ? words->n_buses : 1;
	struct lt_err err;
	int code = settle_pace(cmd, plan, words);

	if (code >= 0)
		return code;
	if (plan->n_paths == 0)
		plan->n_paths = n;
	if (n != 1 && n != plan->n_paths)
		return cli_usage(cmd, "%zu times --bus for %zu parts of --split", n, plan->n_paths);
	for (size_t i = 0; i < plan->n_paths; i++) {
		struct load_path *p = &plan->paths[i];

		code = configure_path(p, cli, words->n_buses ? words->buses[n == 1 ? 0 : i] : NULL);
		if (code >= 0)
			return code;
		if (!words->own && load_check_address(p->url, &err) != LT_OK) {
			cli_notice("%s", err.msg);
			return LT_EXIT_USAGE;
		}
		p->store_acks = plan->ack == LOAD_ACK_STORE ||
				(plan->ack == LOAD_ACK_AUTO && strncmp(p->url, "mqtt", 4) == 0);
		if (p->share == 0)
			p->share = (unsigned)(100 / plan->n_paths);
	}
	return -1;
}

void load_plan_fini(struct load_plan *plan)
{
	for (size_t i = 0; i < plan->n_paths; i++) {
		struct load_path *p = &plan->paths[i];

		if (p->recording) {
			load_recording_fini(p->recording);
			free(p->recording);
		}
		if (!p->cli)
			continue;
		lt_conf_free(p->cli->handle);
		for (size_t k = 0; k < p->cli->n_overrides; k++)
			free(p->cli->overrides[k]);
		free(p->cli);
	}
	load_sim_free(plan->sim);
}
