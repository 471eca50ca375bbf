/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_TEST_RELAY_H
#define LATIDO_TEST_RELAY_H

#include <stdbool.h>

/*
 * A TCP relay between a client and a server on 127.0.0.1, to break the network at will. Runs on a
 * thread of its own; the functions return when what they ask for has happened.
 */
struct relay;

struct relay *relay_new(int target_port);
/** relay_new_at() - listening on @port; 0: any. */
struct relay *relay_new_at(int port, int target_port);
void relay_free(struct relay *r);
int relay_port(const struct relay *r);
/** relay_cut() - reset all connections (both ends see RST); new ones are accepted. */
void relay_cut(struct relay *r);
/** relay_refuse() - true: close the listening socket too, so that connecting is refused. */
void relay_refuse(struct relay *r, bool on);
/** relay_hold() - true: pass nothing from the server to the client. */
void relay_hold(struct relay *r, bool on);

#endif
