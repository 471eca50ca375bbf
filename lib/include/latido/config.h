/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_CONFIG_H
#define LATIDO_CONFIG_H

#include "latido/conf.h"

/*
 * What one configuration file may say, for all programs. Each struct has its table in
 * lib/conf/<section>.c; keys, defaults, bounds and units are described there and only there.
 */

struct lt_log_conf {
	int level;  /* enum lt_log_level */
	int format; /* enum lt_log_format */
};

enum lt_kafka_rebalance { LT_REBALANCE_COOPERATIVE = 0, LT_REBALANCE_EAGER };

struct lt_bus_conf {
	char *url;                /* mqtt(s)://host:port, kafka(s)://host:port,..., mem:// */
	char *prefix;             /* topic prefix, "latido/v1" */
	int64_t queue_bytes;      /* received and not yet done */
	int64_t self_interval_ms; /* between events of a consumer's own figures; 0 = none */
	struct {
		char *client_id; /* empty: latido-<comp>-<host name> */
		bool broker_figures;
		char *username;
		char *password; /* secret */
		char *ca_file;
		char *cert_file;
		char *key_file;
		bool verify_hostname;
		int64_t keepalive_ms;
		int64_t session_expiry_ms;
		int64_t connect_timeout_ms;
		int64_t max_inflight; /* publishes not yet acknowledged */
	} mqtt;
	struct {
		char *topic;            /* events */
		char *deadletter_topic; /* what could not be decoded */
		char *alerts_topic;
		char *group;       /* empty: latido-<comp> */
		int start;         /* group without a position: 0 = earliest, 1 = latest */
		int rebalance;     /* enum lt_kafka_rebalance */
		char *compression; /* librdkafka's names */
		int64_t linger_ms;
		int64_t session_timeout_ms;
		int64_t max_inflight; /* publishes not yet acknowledged */
		char *username;       /* empty: no SASL */
		char *password;       /* secret */
		char *sasl_mechanism;
		char *ca_file;
		char *cert_file;
		char *key_file;
		bool verify_hostname;
		struct lt_conf_map properties; /* librdkafka's, last word */
	} kafka;
	int64_t backoff_base_ms;
	int64_t backoff_cap_ms;
};

enum lt_agent_encoding { LT_ENC_PROTOBUF = 0, LT_ENC_JSON };
enum lt_agent_shape { LT_SHAPE_ALWAYS = 0, LT_SHAPE_ANNOUNCED };
enum lt_kmod_mode { LT_KMOD_AUTO = 0, LT_KMOD_ON, LT_KMOD_OFF };

struct lt_agent_conf {
	char *source; /* empty: host name */
	int64_t interval_ms;
	int encoding;
	int shape;
	int64_t announce_interval_ms;
	int64_t queue_max_bytes; /* without a spool: events not yet acknowledged by the broker */
	struct {
		char *dir; /* empty: no spool */
		int64_t max_bytes;
		int64_t max_age_ms;
		int64_t memory_bytes;
		int sync; /* enum lt_spool_sync */
		int64_t sync_interval_ms;
	} spool;
	int64_t backlog_rate; /* events a second */
	int64_t drain_timeout_ms;
	char *admin;                    /* listen address, empty = none */
	char *procfs;                   /* "/proc" */
	char *sysfs;                    /* "/sys" */
	char *rootfs;                   /* prefix of mount points for statfs */
	struct lt_conf_list collectors; /* empty: all */
	int64_t processes_interval_ms;
	bool processes_stream;
	int64_t processes_top;
	int kmod;                      /* enum lt_kmod_mode */
	char *filesystem_ignore_types; /* regular expressions, node_exporter's defaults */
	char *filesystem_ignore_mounts;
	char *diskstats_ignore_devices;
	char *netdev_ignore_devices;
};

struct lt_redis_conf {
	char *url; /* redis://[user@]host:port/db or unix:///path */
	char *username;
	char *password; /* secret */
	int64_t timeout_ms;
};

struct lt_postgres_conf {
	char *dsn;          /* libpq connection string or URI, without the password */
	char *password;     /* secret */
	int64_t timeout_ms; /* connect and each statement */
};

/* How a consumer collects events before it hands them to its sink. */
struct lt_batch_conf {
	int64_t max_events;
	int64_t max_bytes;
	int64_t linger_ms;
};

/* What a consumer accepts from outside. */
struct lt_limits_conf {
	int64_t max_bytes;         /* one message */
	int64_t max_series;        /* one event */
	int64_t shape_cache_bytes; /* parsed shapes kept */
	int64_t max_ahead_ms;      /* event time may be this far in the future */
};

struct lt_hot_conf {
	char *admin;
	struct lt_batch_conf batch;
	int64_t drain_timeout_ms;
	double max_rate_hz;    /* updates of one node hash a second */
	int64_t window_events; /* MAXLEN of latido:window:<source> */
	int64_t window_bytes;  /* bounds it again for large snapshots */
	int64_t expire_ms;     /* of the node hash */
};

struct lt_store_conf {
	char *admin;
	struct lt_batch_conf batch;
	int64_t drain_timeout_ms;
	int64_t retention_ms;     /* partitions older than this are dropped; 0 = keep all */
	int64_t partitions_ahead; /* days */
	bool migrate;             /* apply migrations at start */
	char *inbox_dir;          /* empty: no inbox */
	int64_t inbox_max_bytes;
	char *deadletter_dir; /* empty: none are kept */
	int64_t deadletter_max_bytes, deadletter_max_age_ms;
};

struct lt_alert_conf {
	char *admin;
	struct lt_conf_list rules; /* file names or patterns */
	int64_t interval_ms;       /* of groups that name none */
	int64_t delay_ms;          /* from an instant to its evaluation */
	int64_t max_lag_ms;        /* event time behind arrival */
	int64_t silence_ms;        /* of sources without interval */
	int64_t forget_ms;
	int64_t max_window_ms;
	int64_t dense_window_ms;
	int64_t max_points;
	int64_t max_series;
	int64_t max_bytes;
	int64_t max_rule_series;
	int64_t max_samples;
	int64_t max_sources;
	int64_t max_source_series;
	char *instance; /* empty: host name and process */
	int64_t lease_ms;
	int64_t restore_timeout_ms;
	int64_t outage_tolerance_ms;
	int64_t grace_ms;
	int64_t resend_ms;
	struct lt_conf_map external_labels;
	char *external_url;
	struct lt_conf_list alertmanagers;
	struct lt_conf_list webhooks;
	char *webhook_secret; /* secret */
	int64_t webhook_max_age_ms;
	int64_t queue; /* what waits for an output */
	bool history;
	int64_t history_retention_ms; /* 0: for ever */
	bool backfill;
	bool publish;
	struct lt_batch_conf batch;
	int64_t drain_timeout_ms;
};

struct lt_bridge_conf {
	char *admin;
	char *mqtt_url;     /* empty: bus.url */
	char *kafka_url;    /* empty: bus.url */
	char *device_group; /* of the shared subscription; empty: none */
	char *inbox_dir;    /* empty: no inbox */
	int64_t inbox_max_bytes;
	int64_t drain_timeout_ms;
};

enum lt_live_auth { LT_LIVE_PASSWORD = 0, LT_LIVE_NONE };

struct lt_live_conf {
	char *admin;
	char *listen;
	struct {
		char *cert_file; /* both empty: no TLS */
		char *key_file;
	} tls;
	int auth; /* enum lt_live_auth */
	char *users_file;
	char *sessions_file; /* empty: sessions end with the process */
	int64_t session_expire_ms;
	int64_t login_attempts;
	int64_t login_window_ms;
	struct lt_conf_list origins; /* beside the address itself, "https://latido.example" */
	struct lt_conf_list proxies; /* addresses */
	char *title;
	char *alertmanager_url;
	int language;
	int64_t max_clients;
	int64_t flush_ms;
	int64_t client_queue_bytes;
	int64_t stall_ms;
	int64_t resume_ms;
	int64_t resume_bytes;
	int64_t workers;
	int64_t query_timeout_ms;
	int64_t drain_timeout_ms;
};

struct lt_config {
	struct lt_log_conf log;
	struct lt_bus_conf bus;
	struct lt_redis_conf redis;
	struct lt_postgres_conf postgres;
	struct lt_limits_conf limits;
	struct lt_agent_conf agent;
	struct lt_hot_conf hot;
	struct lt_store_conf store;
	struct lt_alert_conf alert;
	struct lt_bridge_conf bridge;
	struct lt_live_conf live;
};

extern const struct lt_conf_schema lt_config_schema;

#endif
