/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "load.h"

#define BAR_WIDTH      24
#define TERMINAL_NS    (LT_NS_PER_S / 4)
#define ELSEWHERE_NS   (10 * LT_NS_PER_S)
#define RATE_WINDOW_NS LT_NS_PER_S

struct sums {
	uint64_t sent, delivered, acknowledged, resent, failed, values, bytes;
};

static struct sums add_up(const struct load_run *r)
{
	struct sums s = {0};

	for (size_t i = 0; i < r->plan->n_paths; i++) {
		const struct load_path *p = &r->plan->paths[i];

		s.sent += p->sent;
		s.delivered += p->delivered;
		s.acknowledged += p->acknowledged;
		s.resent += p->resent;
		s.failed += p->failed;
		s.values += p->values;
		s.bytes += p->bytes;
	}
	return s;
}

static double ms(const struct load_hist *h, double q)
{
	return (double)load_hist_quantile_ns(h, q) / 1e6;
}

/* How much of the run is over, 0 to 1: by count or by time, whichever is further. */
static double done(const struct load_run *r, int64_t now_ns)
{
	const struct load_plan *p = r->plan;
	double by_count = p->count ? (double)r->issued / (double)p->count : 0;
	double by_time =
		p->duration_ns ? (double)(now_ns - r->began_ns) / (double)p->duration_ns : 0;
	double x = by_count > by_time ? by_count : by_time;

	return r->stopping || x > 1 ? 1 : x;
}

void load_progress(struct load_run *r, int64_t now_ns)
{
	struct sums s = add_up(r);
	char bar[BAR_WIDTH + 1];
	double x = done(r, now_ns);

	if (r->plan->quiet || now_ns < r->next_progress_ns)
		return;
	r->next_progress_ns = now_ns + (r->tty ? TERMINAL_NS : ELSEWHERE_NS);
	if (now_ns - r->rate_ns >= RATE_WINDOW_NS) {
		r->rate = (double)(s.sent - r->rate_sent) * 1e9 / (double)(now_ns - r->rate_ns);
		r->rate_sent = s.sent;
		r->rate_ns = now_ns;
	}
	if (r->rate_sent == 0 && now_ns > r->began_ns)
		r->rate = (double)s.sent * 1e9 / (double)(now_ns - r->began_ns);
	for (int i = 0; i < BAR_WIDTH; i++)
		bar[i] = (double)i < x * BAR_WIDTH ? '#' : '.';
	bar[BAR_WIDTH] = '\0';
	fprintf(stderr,
		"%s[%s] %3.0f %%  %.0f/s  sent %" PRIu64 "  acknowledged %" PRIu64
		"  again %" PRIu64 "  errors %" PRIu64 "  p50 %.3g ms  p99 %.3g ms%s",
		r->tty ? "\r" : "", bar, 100 * x, r->rate, s.sent, s.acknowledged, s.resent,
		s.failed, ms(&r->acknowledged, 0.5), ms(&r->acknowledged, 0.99),
		r->tty ? "\033[K" : "\n");
}

static void put_latency(struct lt_buf *b, const char *name, const struct load_hist *h)
{
	lt_buf_printf(b,
		"\"%s\":{\"n\":%" PRIu64
		",\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"p99.9\":%.3f,\"max\":%.3f}",
		name, h->n, ms(h, 0.5), ms(h, 0.9), ms(h, 0.99), ms(h, 0.999),
		(double)h->max_ns / 1e6);
}

static void put_paths(struct lt_buf *b, const struct load_plan *plan)
{
	for (size_t i = 0; i < plan->n_paths; i++) {
		const struct load_path *p = &plan->paths[i];

		lt_buf_str(b, i ? "," : "");
		lt_buf_str(b, "{\"bus\":");
		lt_buf_json_str(b, p->url, strlen(p->url));
		if (p->tag) {
			lt_buf_str(b, ",\"api\":");
			lt_buf_json_str(b, p->tag, strlen(p->tag));
		}
		lt_buf_printf(b,
			",\"acknowledged_by\":\"%s\",\"sources\":%" PRIu32 ",\"sent\":%" PRIu64
			",\"delivered\":%" PRIu64 ",\"acknowledged\":%" PRIu64
			",\"sent_again\":%" PRIu64 ",\"errors\":%" PRIu64 "}",
			p->store_acks ? "store" : "broker", p->sources, p->sent, p->delivered,
			p->acknowledged, p->resent, p->failed);
	}
}

static int write_out(const struct load_plan *plan, const struct lt_buf *b)
{
	FILE *f = plan->report ? fopen(plan->report, "we") : stdout;
	bool bad = !f || fwrite(b->data, 1, b->len, f) != b->len || fflush(f) != 0;

	if (f && f != stdout && fclose(f) != 0)
		bad = true;
	if (bad)
		cli_notice("cannot write the report to %s: %s",
			plan->report ? plan->report : "standard output", strerror(errno));
	return bad ? LT_EIO : LT_OK;
}

int load_report(struct load_run *r)
{
	const struct load_plan *plan = r->plan;
	int64_t now_ns = lt_mono_ns();
	int64_t ended_ns = r->ended_ns ? r->ended_ns : now_ns;
	double seconds = (double)(ended_ns - r->began_ns) / 1e9;
	struct sums s = add_up(r);
	struct lt_buf b = {0};
	int rc;

	if (!plan->quiet) {
		r->next_progress_ns = 0;
		load_progress(r, now_ns);
		if (r->tty)
			fputc('\n', stderr);
	}
	lt_buf_printf(&b,
		"{\"command\":\"%s\",\"seed\":%" PRIu64 ",\"sources\":%" PRIu32
		",\"seconds\":%.3f,\"drain_seconds\":%.3f,\"interrupted\":%s,",
		plan->command, plan->seed, plan->sources, seconds,
		(double)(now_ns - ended_ns) / 1e9, r->interrupted ? "true" : "false");
	lt_buf_printf(&b,
		"\"events\":{\"sent\":%" PRIu64 ",\"delivered\":%" PRIu64
		",\"acknowledged\":%" PRIu64 ",\"unacknowledged\":%" PRIu64
		",\"sent_again\":%" PRIu64 ",\"errors\":%" PRIu64 "},",
		s.sent, s.delivered, s.acknowledged, r->under_way, s.resent, s.failed);
	lt_buf_printf(&b,
		"\"values\":%" PRIu64 ",\"bytes\":%" PRIu64
		",\"events_per_second\":%.1f,\"values_per_second\":%.0f,\"latency_ms\":{",
		s.values, s.bytes, seconds > 0 ? (double)s.sent / seconds : 0,
		seconds > 0 ? (double)s.values / seconds : 0);
	put_latency(&b, "broker", &r->broker);
	lt_buf_char(&b, ',');
	put_latency(&b, "acknowledged", &r->acknowledged);
	lt_buf_str(&b, "},\"paths\":[");
	put_paths(&b, plan);
	lt_buf_str(&b, "]}\n");
	rc = write_out(plan, &b);
	lt_buf_fini(&b);
	return rc;
}
