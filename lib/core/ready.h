/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_CORE_READY_H
#define LATIDO_CORE_READY_H

#include <stdbool.h>

#include "latido/mem.h"

/* The state behind lt_ready_set(); loop thread only. */

/** lt_ready_render() - JSON of every dependency. Return: true when all are ready. */
bool lt_ready_render(struct lt_buf *out);
/** lt_ready_all() - is everything that was named ready? */
bool lt_ready_all(void);
/** lt_ready_reset() - forget everything; @changed is called after each lt_ready_set(). */
void lt_ready_reset(void (*changed)(void));

#endif
