/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_CLI_TERM_H
#define LATIDO_CLI_TERM_H

#include <stdbool.h>

#include "latido/err.h"

/*
 * The terminal of a full-screen program: alternate screen, keys, size, and its state put back
 * whatever ends the program. There is one a process.
 */

enum term_key {
	TERM_NONE = 0, /* the time is over */
	/* 1 to 255: a byte as typed */
	TERM_UP = 256,
	TERM_DOWN,
	TERM_PAGE_UP,
	TERM_PAGE_DOWN,
	TERM_HOME,
	TERM_END,
	TERM_ESCAPE,
	TERM_RESIZE, /* also after coming back from the background: draw everything anew */
	TERM_WAKE,   /* the descriptor given to term_key() is readable */
	TERM_QUIT,   /* SIGINT, SIGTERM, SIGHUP, or the terminal is gone */
};

/** term_usable() - are stdin and stdout a terminal that understands control sequences? */
bool term_usable(void);
/** term_colours() - may colours be used on stdout? NO_COLOR (no-color.org) says no. */
bool term_colours(void);
/** term_size() - of the terminal on stdout; 80x24 when it does not say. */
void term_size(unsigned *columns, unsigned *rows);

/**
 * term_block_signals() - before threads are started: only term_key() lets the signals in that
 * matter to the terminal
 */
void term_block_signals(void);
/** term_enter() - alternate screen, no echo, no line buffering. */
int term_enter(struct lt_err *err) LT_MUST_CHECK;
/** term_leave() - as it was; harmless when not entered. */
void term_leave(void);
/** term_key() - the next key or event; @wake_fd: also wait for this one, -1 = none. */
int term_key(int timeout_ms, int wake_fd);

#endif
