/* SPDX-License-Identifier: MIT */
/* adjtimex(2): how the kernel keeps the time. */
#include <errno.h>
#include <string.h>
#include <sys/timex.h>

#include "collector.h"

/* Frequencies are in millionths with 16 fraction bits. */
#define PPM16 (1000000.0 * 65536.0)

enum {
	SYNC_STATUS,
	OFFSET,
	FREQ,
	MAXERROR,
	ESTERROR,
	STATUS,
	CONSTANT,
	TICK,
	PPSFREQ,
	JITTER,
	SHIFT,
	STABIL,
	JITCNT,
	CALCNT,
	ERRCNT,
	STBCNT,
	TAI,
	N_METRICS
};

static const struct lt_metric metrics[N_METRICS] = {
	[SYNC_STATUS] = {"node_timex_sync_status", LT_KIND_GAUGE,
		"Is clock synchronized to a reliable server (1 = yes, 0 = no)."},
	[OFFSET] = {"node_timex_offset_seconds", LT_KIND_GAUGE,
		"Time offset in between local system and reference clock."},
	[FREQ] = {"node_timex_frequency_adjustment_ratio", LT_KIND_GAUGE,
		"Local clock frequency adjustment."},
	[MAXERROR] = {"node_timex_maxerror_seconds", LT_KIND_GAUGE, "Maximum error in seconds."},
	[ESTERROR] = {"node_timex_estimated_error_seconds", LT_KIND_GAUGE,
		"Estimated error in seconds."},
	[STATUS] = {"node_timex_status", LT_KIND_GAUGE, "Value of the status array bits."},
	[CONSTANT] = {"node_timex_loop_time_constant", LT_KIND_GAUGE,
		"Phase-locked loop time constant."},
	[TICK] = {"node_timex_tick_seconds", LT_KIND_GAUGE, "Seconds between clock ticks."},
	[PPSFREQ] = {"node_timex_pps_frequency_hertz", LT_KIND_GAUGE,
		"Pulse per second frequency."},
	[JITTER] = {"node_timex_pps_jitter_seconds", LT_KIND_GAUGE, "Pulse per second jitter."},
	[SHIFT] = {"node_timex_pps_shift_seconds", LT_KIND_GAUGE,
		"Pulse per second interval duration."},
	[STABIL] = {"node_timex_pps_stability_hertz", LT_KIND_GAUGE,
		"Pulse per second stability, average of recent frequency changes."},
	[JITCNT] = {"node_timex_pps_jitter_total", LT_KIND_COUNTER,
		"Pulse per second count of jitter limit exceeded events."},
	[CALCNT] = {"node_timex_pps_calibration_total", LT_KIND_COUNTER,
		"Pulse per second count of calibration intervals."},
	[ERRCNT] = {"node_timex_pps_error_total", LT_KIND_COUNTER,
		"Pulse per second count of calibration errors."},
	[STBCNT] = {"node_timex_pps_stability_exceeded_total", LT_KIND_COUNTER,
		"Pulse per second count of stability limit exceeded events."},
	[TAI] = {"node_timex_tai_offset_seconds", LT_KIND_GAUGE,
		"International Atomic Time (TAI) offset."},
};

static int read_clock(struct timex *t, int *state, struct lt_err *err)
{
	memset(t, 0, sizeof(*t)); /* modes 0: read only */
	*state = adjtimex(t);
	if (*state >= 0)
		return LT_OK;
	/* containers with a strict seccomp profile */
	return lt_fail(err, errno == EPERM || errno == ENOSYS ? LT_EAGAIN : LT_EIO, LT_CLS_RETRY,
		"timex.sample", "adjtimex: %s", strerror(errno));
}

static int init(void *state, struct lt_collect_env *env, struct lt_err *err)
{
	struct timex t;
	int ignored;

	(void)state;
	(void)env;
	return read_clock(&t, &ignored, err);
}

static int sample(
	void *state, struct lt_collect_env *env, struct lt_snapshot *out, struct lt_err *err)
{
	struct timex t;
	double v[N_METRICS], divisor;
	int clock, rc = read_clock(&t, &clock, err);

	(void)state;
	(void)env;
	if (rc != LT_OK)
		return rc;
	divisor = t.status & STA_NANO ? 1e9 : 1e6;
	v[SYNC_STATUS] = clock == TIME_ERROR ? 0 : 1;
	v[OFFSET] = (double)t.offset / divisor;
	v[FREQ] = 1 + (double)t.freq / PPM16;
	v[MAXERROR] = (double)t.maxerror / 1e6;
	v[ESTERROR] = (double)t.esterror / 1e6;
	v[STATUS] = t.status;
	v[CONSTANT] = (double)t.constant;
	v[TICK] = (double)t.tick / 1e6;
	v[PPSFREQ] = (double)t.ppsfreq / PPM16;
	v[JITTER] = (double)t.jitter / divisor;
	v[SHIFT] = t.shift;
	v[STABIL] = (double)t.stabil / PPM16;
	v[JITCNT] = (double)t.jitcnt;
	v[CALCNT] = (double)t.calcnt;
	v[ERRCNT] = (double)t.errcnt;
	v[STBCNT] = (double)t.stbcnt;
	v[TAI] = t.tai;
	for (size_t i = 0; i < N_METRICS; i++)
		lt_snapshot_value(out, metrics[i].name, metrics[i].kind, v[i]);
	return LT_OK;
}

const struct lt_collector lt_collector_timex = {
	.name = "timex",
	.help = "synchronisation of the clock, from adjtimex(2)",
	.metrics = metrics,
	.n_metrics = LT_ARRAY_LEN(metrics),
	.state_size = 1,
	.init = init,
	.sample = sample,
};
