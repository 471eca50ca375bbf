/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "latido/kafka_topics.h"

static void told(void *arg, const char *topic, enum lt_kafka_topic_state state, const char *text)
{
	static const char *const words[] = {
		[LT_TOPIC_CREATED] = "created",
		[LT_TOPIC_EXISTS] = "exists",
		[LT_TOPIC_SAME] = "as expected",
		[LT_TOPIC_MISSING] = "missing",
		[LT_TOPIC_DIFFERS] = "differs",
		[LT_TOPIC_FAILED] = "failed",
	};
	struct lt_buf line = {0};

	(void)arg;
	lt_buf_printf(&line, "%s: %s%s%s\n", topic, words[state], *text ? ": " : "", text);
	cli_write(&line);
	lt_buf_fini(&line);
}

static int done(int rc, const struct lt_err *err)
{
	if (rc == LT_OK)
		return cli_exit_code();
	cli_notice("%s", err->msg);
	return rc != LT_ECONFLICT && err->cls == LT_CLS_CONFIG ? LT_EXIT_CONFIG : LT_EXIT_FAILURE;
}

static int work(struct cli *cli, const char *verb, const struct lt_kafka_topics_wish *wish)
{
	const struct lt_bus_conf *bus = &cli->conf->bus;
	struct lt_err err = {0};
	int rc;

	if (strncmp(bus->url, "kafka", 5) != 0) {
		cli_notice("bus.url is %s: only Kafka has topics to be made", bus->url);
		return LT_EXIT_CONFIG;
	}
	if (!strcmp(verb, "create"))
		rc = lt_kafka_topics_create(bus, wish, told, NULL, &err);
	else
		rc = lt_kafka_topics_check(bus, wish, told, NULL, &err);
	return done(rc, &err);
}

static int run(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {CLI_LONG_OPTIONS,
		{"partitions", required_argument, NULL, 'p'},
		{"replication", required_argument, NULL, 'r'},
		{"retention-days", required_argument, NULL, 't'},
		{"bus", required_argument, NULL, 'b'}, {0}};
	struct lt_kafka_topics_wish wish = {0};
	const char *verb = NULL;
	double n;
	int c, code = -1;

	while (code < 0 &&
		(c = getopt_long(argc, argv, CLI_SHORT_OPTIONS "p:r:t:b:", options, NULL)) != -1) {
		switch (c) {
		case 'p':
			if (cli_number(&cli_topics, "--partitions", optarg, 1, 10000, &n))
				wish.partitions = (int32_t)n;
			else
				code = LT_EXIT_USAGE;
			break;
		case 'r':
			if (cli_number(&cli_topics, "--replication", optarg, 1, 100, &n))
				wish.copies = (int32_t)n;
			else
				code = LT_EXIT_USAGE;
			break;
		case 't':
			if (cli_number(&cli_topics, "--retention-days", optarg, 0.001, 36500, &n))
				wish.retention_ms = (int64_t)(n * 86400000);
			else
				code = LT_EXIT_USAGE;
			break;
		case 'b':
			cli_override(cli, "bus.url", optarg);
			break;
		default:
			code = cli_option(cli, &cli_topics, c);
		}
	}
	if (code < 0 && optind < argc)
		verb = argv[optind++];
	if (code < 0 && (!verb || (strcmp(verb, "create") != 0 && strcmp(verb, "check") != 0)))
		code = cli_usage(&cli_topics, "what to do? create or check");
	if (code < 0)
		code = cli_no_more(&cli_topics, argc, argv);
	if (code < 0)
		code = cli_configure(cli);
	return code < 0 ? work(cli, verb, &wish) : code;
}

const struct cli_command cli_topics = {
	.name = "topics",
	.summary = "make Latido's topics in Kafka, or check them",
	.help = "topics create|check [OPTION]...\n"
		"Make the Kafka topics that do not exist, or tell how they differ from what "
		"Latido\n"
		"needs. Topics that exist are never changed.\n\n"
		"  -p, --partitions N      of the events (12)\n"
		"  -r, --replication N     copies of each partition (3, or the number of brokers)\n"
		"  -t, --retention-days N  how long events are kept (7)\n"
		"      --bus URL           instead of bus.url\n"
		"  -c, --config FILE       configuration file; may be repeated, later ones win\n"
		"  -h, --help              print this and exit",
	.run = run,
};
