/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_CLI_DEADLETTER_KEPT_H
#define LATIDO_CLI_DEADLETTER_KEPT_H

#include "latido/kafka_topics.h"

/**
 * cli_kept_scan() - the dead letters in a folder that latido-store keeps (store.deadletter_dir)
 * @fn: gets each as if it came from Kafka: with the same headers; partition 0, offset = number.
 */
int cli_kept_scan(
	const char *dir, lt_kafka_scan_fn fn, void *arg, struct lt_err *err) LT_MUST_CHECK;

#endif
