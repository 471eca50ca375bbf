/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_LOAD_H
#define LATIDO_LOAD_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "../../consumers/cli/cli.h"
#include "latido/bus.h"
#include "latido/clock.h"
#include "latido/event.h"
#include "latido/loop.h"

/*
 * latido-load: many sources played by one process, and recordings of what real ones send.
 *
 *	options.c    the words of the command line that the subcommands share
 *	guard.c      only loopback addresses, unless somebody says that they own the machine
 *	hist.c       latencies by powers of two in 32 steps
 *	recording.c  a recording: one JSON line a document
 *	sim.c        plausible values: what a simulated node says at a time
 *	source.c     one source: numbering, what is under way, what is acknowledged
 *	path.c       one way into Latido: bus, connections, delivery reports, acknowledgements
 *	run.c        who sends when; sends again; ends
 *	report.c     progress on a terminal, the JSON document at the end
 *	collect.c, replay.c, simulate.c   the subcommands
 */

#define LOAD_SOURCES_MAX 100000
#define LOAD_PATHS_MAX   8
/* Events of one source that may be under way; a source with more waits. */
#define LOAD_WINDOW      256

/* ---- latencies (hist.c) ---- */

#define LOAD_HIST_STEPS 32
#define LOAD_HIST_SLOTS (64 * LOAD_HIST_STEPS)

/**
 * struct load_hist - durations in ns; a quantile is at most 3.2 % off
 *
 * As HdrHistogram does it: each power of two is divided into equal steps.
 */
struct load_hist {
	uint64_t slot[LOAD_HIST_SLOTS];
	uint64_t n;
	int64_t max_ns;
};

/** load_hist_add() - negative durations count as 0. */
void load_hist_add(struct load_hist *h, int64_t ns);
/** load_hist_quantile_ns() - upper bound of the @q quantile (0 to 1); 0 when empty. */
int64_t load_hist_quantile_ns(const struct load_hist *h, double q);

/* ---- addresses (guard.c) ---- */

/**
 * load_check_address() - refuse what is not this machine
 * @url: of a bus or http(s); every host of a list is looked up.
 *
 * Return: LT_OK, or LT_ECONF with @err naming the host and the option that allows it.
 */
int load_check_address(const char *url, struct lt_err *err) LT_MUST_CHECK;

/* ---- recordings (recording.c) ---- */

/** struct load_record - one document of a recording, as an event without identity */
struct load_record {
	struct lt_shape *shape; /* referenced */
	const uint8_t *values;
	uint32_t n;
};

/** struct load_recording - all documents of a file, decoded */
struct load_recording {
	struct lt_shapes *shapes;
	struct lt_arena arena;
	struct load_record *records;
	size_t n, cap;
};

/**
 * load_recording_read() - decode a file
 * @tag: NULL, or every series gets the label api="<tag>" (one that it had is replaced).
 *
 * Return: LT_OK; LT_EIO: cannot be read; LT_EDATA: @err names file and line.
 */
int load_recording_read(struct load_recording *r, const char *path, const char *tag,
	const struct lt_limits_conf *limits, struct lt_err *err) LT_MUST_CHECK;
void load_recording_fini(struct load_recording *r);

/**
 * load_recording_line() - append one line: {"at":1.25,"from":"17","body":...}
 * @at_ns: since the recording began. @from: user or source. @body: one JSON document, copied as it
 *	is but for line breaks between its tokens.
 */
void load_recording_line(
	struct lt_buf *out, int64_t at_ns, const char *from, const char *body, size_t size);

/* ---- simulated nodes (sim.c) ---- */

struct load_sim;

/**
 * load_sim_new() - a fleet of nodes of the same kind
 * @series: values of one event. @seed: the same seed gives the same values at the same times.
 * @restart_every_ns: mean time between restarts of one node; 0 = none.
 */
struct load_sim *load_sim_new(uint32_t series, uint64_t seed, int64_t restart_every_ns);
void load_sim_free(struct load_sim *s);
struct lt_shape *load_sim_shape(const struct load_sim *s);
/**
 * load_sim_values() - what node @node says at @wall_ns when it was booted at @boot_ns
 * @out: as many doubles as the shape has series, little-endian.
 *
 * Gauges follow the time of day (each node with a phase of its own) with noise; counters are the
 * integrals of such rates since the boot, so they never fall but by a restart. A function of its
 * arguments alone: an event that is sent again has the same values.
 */
void load_sim_values(
	struct load_sim *s, uint32_t node, int64_t boot_ns, int64_t wall_ns, uint8_t *out);
/** load_sim_boot_ns() - the last boot of @node at or before @wall_ns. */
int64_t load_sim_boot_ns(const struct load_sim *s, uint32_t node, int64_t wall_ns);

/* ---- running (path.c, source.c, run.c) ---- */

struct load_run;
struct load_path;

/* One event under way. */
struct load_sent {
	int64_t due_ns;  /* monotonic: when it should have been sent */
	int64_t wall_ns; /* its time */
	int64_t sent_ns; /* monotonic: last time it was handed to the bus */
	uint32_t record;
	bool delivered, acknowledged;
};

struct load_source {
	char name[LT_SOURCE_MAX + 1];
	uint32_t number;
	struct load_path *path;
	unsigned connection;
	uint64_t epoch, seq; /* seq: last issued */
	uint64_t oldest;     /* lowest number that is not acknowledged */
	int64_t boot_ns;     /* wall; simulate only */
	int64_t due_ns;      /* monotonic: the next event */
	bool waiting;        /* in its connection's list */
	struct load_source *next;
	struct load_sent *sent; /* ring of LOAD_WINDOW, by seq */
};

struct load_connection {
	struct load_path *path;
	struct lt_bus_conf conf; /* shares all but the client id with the configuration */
	char *client_id;
	struct lt_bus *bus;
	bool up;
	struct load_source *first, **last; /* due, and the bus is full */
};

/** struct load_path - one way into Latido */
struct load_path {
	struct load_run *run;
	struct cli *cli;
	const struct lt_config *conf;
	const char *url, *tag; /* tag: NULL or the value of api */
	struct load_recording *recording;
	struct load_connection *connections;
	unsigned n_connections;
	unsigned share; /* of the sources, in percent */
	uint32_t sources;
	bool store_acks; /* …/ack is what counts; else the broker's word */
	uint64_t sent, delivered, acknowledged, resent, failed, values, bytes;
};

enum load_ack { LOAD_ACK_AUTO = 0, LOAD_ACK_STORE, LOAD_ACK_BROKER };

/** struct load_plan - what one run does; filled by a subcommand */
struct load_plan {
	const char *command;
	const char *prefix; /* of the names of the sources */
	uint32_t sources;
	int64_t interval_min_ns, interval_max_ns; /* of one source; both 0: as fast as possible */
	uint64_t count;                           /* events, 0 = bounded by time alone */
	int64_t duration_ns;                      /* 0 = bounded by count alone */
	int64_t drain_ns;                         /* wait so long for the last acknowledgements */
	int64_t resend_ns;                        /* unacknowledged for so long: sent again */
	uint64_t seed;
	bool json;          /* encoding */
	bool quiet;         /* no progress */
	const char *report; /* file, NULL = standard output */
	enum load_ack ack;
	unsigned connections; /* of each path */
	struct load_sim *sim; /* or NULL: the paths have recordings */
	struct load_path paths[LOAD_PATHS_MAX];
	size_t n_paths;
};

struct load_run {
	struct load_plan *plan;
	struct lt_loop loop;
	struct lt_timer tick, again;
	struct event *signals[2];
	struct load_source *sources;
	struct load_source **heap; /* by due_ns */
	size_t n_heap;
	uint32_t *by_name; /* open addressing, source number + 1 */
	size_t names;      /* size of by_name, a power of two */
	struct lt_buf wire, topic;
	uint8_t *values;
	uint64_t issued, under_way;
	int64_t began_ns, ended_ns; /* monotonic; ended: the last event was issued */
	int64_t next_progress_ns, next_check_ns;
	uint32_t check_at; /* which source is looked at next for lost events */
	uint64_t rng;
	bool started, stopping, interrupted, tty;
	struct load_hist broker, acknowledged;
	double rate; /* smoothed, for the progress line */
	uint64_t rate_sent;
	int64_t rate_ns;
	int code;
};

/** load_run() - do what the plan says. Return: exit code; 1 when an event was not acknowledged. */
int load_run(struct load_plan *plan);

/* path.c */
int load_path_open(
	struct load_path *p, struct load_run *r, unsigned n, struct lt_err *err) LT_MUST_CHECK;
bool load_path_up(const struct load_path *p);
/** load_path_send() - one event. Return: as lt_bus_publish(). */
int load_path_send(
	struct load_source *s, uint64_t seq, bool again, struct lt_err *err) LT_MUST_CHECK;
void load_path_fini(struct load_path *p);

/* source.c */
int load_sources_make(struct load_run *r, struct lt_err *err) LT_MUST_CHECK;
struct load_source *load_sources_find(struct load_run *r, const char *name, size_t n);
static inline struct load_sent *load_sent(struct load_source *s, uint64_t seq)
{
	return &s->sent[seq % LOAD_WINDOW];
}
/** load_source_delivered() - the broker has it. */
void load_source_delivered(struct load_run *r, struct load_source *s, uint64_t seq, int code);
/** load_source_ack() - an acknowledgement document of this source. */
void load_source_ack(struct load_run *r, struct load_source *s, const void *text, size_t size);
void load_sources_free(struct load_run *r);

/* run.c, for path.c */
void load_run_state(struct load_run *r);
void load_run_writable(struct load_connection *c);
void load_run_fail(struct load_run *r, const struct lt_err *err);

/* report.c */
void load_progress(struct load_run *r, int64_t now_ns);
int load_report(struct load_run *r);

/* ---- options shared by the subcommands (options.c) ---- */

/**
 * load_interval() - "1s", "250ms" or "1s..4s"
 * Return: false after cli_usage().
 */
bool load_interval(const struct cli_command *cmd, const char *option, const char *text,
	int64_t *min_ns, int64_t *max_ns);
/** load_duration() - "90s", "3m"; the same. */
bool load_duration(
	const struct cli_command *cmd, const char *option, const char *text, int64_t *ns);

/* Of replay and simulate. */
#define LOAD_LONG_OPTIONS                                                                          \
	CLI_LONG_OPTIONS, {"sources", required_argument, NULL, 's'},                               \
		{"interval", required_argument, NULL, 'i'},                                        \
		{"rate", required_argument, NULL, 'r'}, {"flat-out", no_argument, NULL, 'F'},      \
		{"count", required_argument, NULL, 'n'},                                           \
		{"duration", required_argument, NULL, 'd'}, {"bus", required_argument, NULL, 'B'}, \
		{"connections", required_argument, NULL, 'C'},                                     \
		{"ack", required_argument, NULL, 'A'}, {"drain", required_argument, NULL, 'D'},    \
		{"resend", required_argument, NULL, 'R'}, {"json", no_argument, NULL, 'j'},        \
		{"prefix", required_argument, NULL, 'p'}, {"seed", required_argument, NULL, 'S'},  \
		{"report", required_argument, NULL, 'o'}, {"quiet", no_argument, NULL, 'q'},       \
	{                                                                                          \
		"i-own-this", no_argument, NULL, 'O'                                               \
	}

#define LOAD_HELP                                                                                 \
	"  -i, --interval TIME        between two events of a source: 1s, or 1s..4s for any in\n" \
	"                             between (1s)\n"                                             \
	"  -r, --rate N               instead: events a second of all sources together\n"         \
	"      --flat-out             instead: as fast as it goes\n"                              \
	"  -n, --count N              end after N events\n"                                       \
	"  -d, --duration TIME        end after that time\n"                                      \
	"      --bus URL              instead of bus.url; once for each part of --split\n"        \
	"      --connections N        of each bus (1)\n"                                          \
	"      --ack WHO              whose word counts: store (or bridge), broker, or auto:\n"   \
	"                             store on MQTT, broker on Kafka\n"                           \
	"      --resend TIME          unacknowledged for so long: sent again (10s)\n"             \
	"      --drain TIME           wait so long for the last acknowledgements (60s)\n"         \
	"  -j, --json                 send JSON instead of protobuf\n"                            \
	"      --prefix NAME          sources are NAME-00001, ...\n"                              \
	"      --seed N               the same seed gives the same values and pauses\n"           \
	"  -o, --report FILE          where the JSON report goes (standard output)\n"             \
	"  -q, --quiet                no progress\n"                                              \
	"      --i-own-this           also to addresses that are not this machine's\n"            \
	"  -c, --config FILE          configuration file; may be repeated, later ones win\n"      \
	"  -h, --help                 print this and exit\n\n"

/** struct load_words - what was said, before it is put together */
struct load_words {
	double rate;
	bool flat_out, own;
	const char *buses[LOAD_PATHS_MAX];
	size_t n_buses;
};

/** load_option() - handle one of LOAD_LONG_OPTIONS. Return: -1 to go on, else the exit code. */
int load_option(struct cli *cli, const struct cli_command *cmd, struct load_plan *plan,
	struct load_words *words, int c);
/**
 * load_settle() - put the words together: paths with their configuration, intervals
 * Return: -1 to go on, else the exit code (what is wrong was said).
 */
int load_settle(struct cli *cli, const struct cli_command *cmd, struct load_plan *plan,
	struct load_words *words);
void load_plan_fini(struct load_plan *plan);

extern const struct cli_command load_collect, load_replay, load_simulate;

#endif
