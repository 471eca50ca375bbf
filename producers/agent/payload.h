/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_AGENT_PAYLOAD_H
#define LATIDO_AGENT_PAYLOAD_H

#include <stddef.h>
#include <stdint.h>

#include "latido/mem.h"

/*
 * A spooled event is encoded once without its identity, so that it can get another one: a new epoch,
 * the present oldest_seq, a new name of the source.
 */

/**
 * lt_payload_write() - the message for an event, into @out (emptied first)
 * @body: as lt_encode_protobuf() (without the shape) or lt_encode_json() wrote it, without epoch,
 *	seq and oldest_seq.
 * @shape: to be put in; @shape_size 0 = none.
 */
void lt_payload_write(struct lt_buf *out, const char *source, uint64_t epoch, uint64_t seq,
	uint64_t oldest_seq, const void *body, size_t size, const void *shape, size_t shape_size);

/** lt_payload_type() - content type of a body. */
const char *lt_payload_type(const void *body, size_t size);

#endif
