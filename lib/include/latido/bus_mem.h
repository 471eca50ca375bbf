/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_BUS_MEM_H
#define LATIDO_BUS_MEM_H

#include <stdbool.h>
#include <stddef.h>

#include "latido/err.h"

/*
 * Hooks of the in-memory bus, for tests. Buses with the URL mem://NAME meet in the broker NAME of
 * this process, which behaves like an MQTT 5 broker: filters, retained messages, sessions, wills.
 * It exists from the first use until lt_bus_mem_reset(). All functions may be called from any
 * thread; what they cause is seen by the buses' handlers from their loops.
 */

/** lt_bus_mem_reset() - forget the broker with all its sessions; no bus may be connected to it. */
void lt_bus_mem_reset(const char *name);

/** lt_bus_mem_down() - true: cut all connections and refuse new ones; false: accept again. */
void lt_bus_mem_down(const char *name, bool down);

/**
 * lt_bus_mem_cut() - break the connection of @client_id (NULL: all), as a network does
 *
 * The broker publishes the wills. The buses connect again by themselves.
 */
void lt_bus_mem_cut(const char *name, const char *client_id);

/** lt_bus_mem_forget() - lose all sessions and retained messages; use it between down and up. */
void lt_bus_mem_forget(const char *name);

/** lt_bus_mem_hold_acks() - true: publishes are routed but not acknowledged until false. */
void lt_bus_mem_hold_acks(const char *name, bool hold);

/** lt_bus_mem_refuse_connect() - every connect fails with @err (copied); NULL: accept again. */
void lt_bus_mem_refuse_connect(const char *name, const struct lt_err *err);

/** lt_bus_mem_refuse_publish() - publishes that match @filter fail with @code; NULL: none do. */
void lt_bus_mem_refuse_publish(const char *name, const char *filter, int code);

/** lt_bus_mem_limit() - largest payload that the broker takes; 0: no limit. */
void lt_bus_mem_limit(const char *name, size_t bytes);

/** lt_bus_mem_queued() - messages that wait at the broker for the session of @client_id. */
size_t lt_bus_mem_queued(const char *name, const char *client_id);

#endif
