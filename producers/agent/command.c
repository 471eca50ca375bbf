/* SPDX-License-Identifier: MIT */
/* What the agent does and leaves: --once --print, --list-metrics. No bus is needed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "collectors.h"
#include "latido/log.h"

struct lt_agent_options lt_agent_options;

int lt_agent_source(const struct lt_agent_conf *conf, char *out, struct lt_err *err)
{
	size_t n;

	if (*conf->source) {
		snprintf(out, LT_SOURCE_MAX + 1, "%s", conf->source);
		n = strlen(conf->source);
	} else if (gethostname(out, LT_SOURCE_MAX + 1) == 0) {
		out[LT_SOURCE_MAX] = '\0';
		n = strlen(out);
	} else {
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "agent.source",
			"agent.source is not set and there is no host name: %s; set agent.source",
			strerror(errno));
	}
	if (n > LT_SOURCE_MAX || !lt_source_valid(out, n))
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "agent.source",
			"the %s \"%s\" cannot name a source (letters, digits and . _ : - only, "
			"at most %d); set agent.source",
			*conf->source ? "value" : "host name", out, LT_SOURCE_MAX);
	return LT_OK;
}

static int complain(const struct lt_err *err)
{
	fprintf(stderr, "latido-agent: %s\n", err->msg);
	return lt_exit_code(err);
}

static int print_once(struct lt_ctx *ctx)
{
	const struct lt_agent_conf *conf = &ctx->conf->agent;
	struct lt_collectors *cs;
	struct lt_snapshot *snapshot;
	struct lt_event e = {.stream = "", .has_time = true};
	char source[LT_SOURCE_MAX + 1];
	struct lt_buf json = {0};
	struct lt_err err = {0};
	int code = LT_EXIT_OK;

	if (lt_agent_source(conf, source, &err) != LT_OK)
		return complain(&err);
	cs = lt_collectors_new(conf, true, &err);
	if (!cs)
		return complain(&err);
	snapshot = lt_snapshot_new((uint32_t)ctx->conf->limits.max_series);
	if (lt_collectors_sample(cs, snapshot, &e, &err) == LT_OK) {
		e.source = source;
		lt_encode_json(&e, &json);
		lt_buf_char(&json, '\n');
		if (fwrite(json.data, 1, json.len, stdout) != json.len || fflush(stdout) != 0) {
			fprintf(stderr, "latido-agent: stdout: %s\n", strerror(errno));
			code = LT_EXIT_FAILURE;
		}
	} else {
		code = complain(&err);
	}
	lt_buf_fini(&json);
	lt_snapshot_free(snapshot);
	lt_collectors_free(cs);
	return code;
}

static int list_metrics(struct lt_ctx *ctx)
{
	struct lt_err err = {0};
	struct lt_collectors *cs = lt_collectors_new(&ctx->conf->agent, true, &err);

	if (!cs)
		return complain(&err);
	lt_collectors_list(cs, stdout);
	lt_collectors_free(cs);
	if (fflush(stdout) == 0)
		return LT_EXIT_OK;
	fprintf(stderr, "latido-agent: stdout: %s\n", strerror(errno));
	return LT_EXIT_FAILURE;
}

int lt_agent_command(struct lt_ctx *ctx)
{
	const struct lt_agent_options *o = &lt_agent_options;

	if (o->once != o->print) {
		fprintf(stderr, "latido-agent: --once and --print go together\n"
				"Try 'latido-agent --help'.\n");
		return LT_EXIT_USAGE;
	}
	if (o->list_metrics)
		return list_metrics(ctx);
	return o->once ? print_once(ctx) : -1;
}
