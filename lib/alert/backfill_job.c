/* SPDX-License-Identifier: MIT */
/* What goes to the thread of backfill.c and what comes from it. */
#include <stdlib.h>

#include "backfill.h"

void lt_backfill_job_free(struct lt_backfill_job *job)
{
	if (!job)
		return;
	for (size_t i = 0; i < job->n_exprs; i++)
		free(job->exprs[i]);
	for (size_t i = 0; i < job->n_sources; i++)
		free(job->sources[i].name);
	free(job->exprs);
	free(job->sources);
	free(job);
}

void lt_backfill_chunk_free(struct lt_backfill_chunk *c)
{
	if (!c)
		return;
	lt_arena_fini(&c->arena);
	free(c);
}
