/* SPDX-License-Identifier: MIT */
/* Protocol counters of /proc/net/netstat, snmp and snmp6: those that node_exporter takes. */
#include <stdlib.h>
#include <string.h>

#include "collector.h"

#define FIELDS                                                                              \
	"^(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|"              \
	"Icmp6?_(InMsgs|OutMsgs)|TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts)|" \
	"Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab)|"      \
	"Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))$"

struct state {
	struct lt_procfile netstat, snmp, snmp6;
	struct lt_match *fields;
	struct lt_names names;
	struct lt_pairs pairs;
};

/* Nearly all are counters, but node_exporter leaves it open. */
static const struct lt_metric metrics[] = {
	{"node_netstat_*", LT_KIND_UNKNOWN, "Statistic *."},
};

static int init(void *state, struct lt_collect_env *env, struct lt_err *err)
{
	struct state *s = state;
	const char *root = env->conf->procfs;
	int rc;

	lt_procfile_init(&s->netstat, lt_collect_path(root, "net/netstat"), true);
	lt_procfile_init(&s->snmp, lt_collect_path(root, "net/snmp"), true);
	lt_procfile_init(&s->snmp6, lt_collect_path(root, "net/snmp6"), true);
	s->fields = lt_match_new("netstat", FIELDS, err);
	if (!s->fields)
		return LT_ECONF;
	rc = lt_procfile_read(&s->netstat, err);
	return rc == LT_OK ? lt_procfile_read(&s->snmp, err) : rc;
}

static char *make(struct lt_token protocol, struct lt_token key, void *arg)
{
	const struct state *s = arg;
	char *field = lt_asprintf("%.*s_%.*s", (int)protocol.len, protocol.p, (int)key.len, key.p);
	char *name = NULL;

	if (lt_match(s->fields, field))
		name = lt_asprintf("node_netstat_%s", field);
	free(field);
	return name;
}

static int bad(const struct lt_procfile *f, const char *what, struct lt_err *err)
{
	return lt_fail(err, LT_EDATA, LT_CLS_RETRY, "netstat.sample", "%s: %s", f->path, what);
}

/* Two lines a protocol: "Tcp: A B C" and "Tcp: 1 2 3". Values may be negative (Tcp MaxConn). */
static int read_pairs_of_lines(
	struct state *s, const struct lt_procfile *f, size_t *i, struct lt_err *err)
{
	struct lt_token names, values, key, value, protocol;
	const char *cursor = f->buf;

	while (lt_scan_line(&cursor, &names)) {
		if (!lt_scan_line(&cursor, &values) || !lt_scan_word(&names, &protocol) ||
			!lt_scan_word(&values, &key) || key.len != protocol.len ||
			memcmp(key.p, protocol.p, key.len) != 0 || protocol.len < 2 ||
			protocol.p[protocol.len - 1] != ':')
			return bad(f, "lines do not come in pairs of one protocol", err);
		protocol.len--;
		while (lt_scan_word(&names, &key)) {
			const char *name;
			double v;

			if (!lt_scan_word(&values, &value) || !lt_token_double(value, &v))
				return bad(f, "a name has no number in the next line", err);
			name = lt_names_at(&s->names, (*i)++, protocol, key, make, s);
			if (name)
				lt_pairs_add(&s->pairs, name, v);
		}
		if (lt_scan_word(&values, &value))
			return bad(f, "a number has no name in the line before", err);
	}
	return LT_OK;
}

/* "Ip6InReceives    123": the protocol ends with the 6. */
static int read_snmp6(struct state *s, const struct lt_procfile *f, size_t *i, struct lt_err *err)
{
	const char *cursor = f->buf;
	struct lt_token line, key, protocol;

	while (lt_scan_line(&cursor, &line)) {
		const char *six, *name;
		uint64_t v;

		if (!lt_scan_word(&line, &key))
			continue;
		six = memchr(key.p, '6', key.len);
		if (!six)
			continue;
		if (!lt_scan_u64(&line, &v))
			return bad(f, "a name is not followed by a number", err);
		protocol = (struct lt_token){key.p, (size_t)(six + 1 - key.p)};
		key.len -= protocol.len;
		key.p += protocol.len;
		name = lt_names_at(&s->names, (*i)++, protocol, key, make, s);
		if (name)
			lt_pairs_add(&s->pairs, name, (double)v);
	}
	return LT_OK;
}

static int sample(
	void *state, struct lt_collect_env *env, struct lt_snapshot *out, struct lt_err *err)
{
	struct state *s = state;
	size_t i = 0;
	int rc;

	(void)env;
	s->pairs.n = 0;
	if ((rc = lt_procfile_read(&s->netstat, err)) != LT_OK ||
		(rc = read_pairs_of_lines(s, &s->netstat, &i, err)) != LT_OK ||
		(rc = lt_procfile_read(&s->snmp, err)) != LT_OK ||
		(rc = read_pairs_of_lines(s, &s->snmp, &i, err)) != LT_OK)
		return rc;
	rc = lt_procfile_read(&s->snmp6, err); /* not there without IPv6 */
	if (rc == LT_OK)
		rc = read_snmp6(s, &s->snmp6, &i, err);
	else if (rc == LT_EAGAIN)
		rc = LT_OK;
	if (rc != LT_OK)
		return rc;
	lt_pairs_emit(&s->pairs, out, LT_KIND_UNKNOWN);
	return LT_OK;
}

static void fini(void *state, struct lt_collect_env *env)
{
	struct state *s = state;

	(void)env;
	lt_procfile_fini(&s->netstat);
	lt_procfile_fini(&s->snmp);
	lt_procfile_fini(&s->snmp6);
	lt_match_free(s->fields);
	lt_names_fini(&s->names);
	lt_pairs_fini(&s->pairs);
}

const struct lt_collector lt_collector_netstat = {
	.name = "netstat",
	.help = "IP, ICMP, TCP and UDP counters",
	.metrics = metrics,
	.n_metrics = LT_ARRAY_LEN(metrics),
	.state_size = sizeof(struct state),
	.init = init,
	.sample = sample,
	.fini = fini,
};
