/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_LIVE_PG_VALUES_H
#define LATIDO_LIVE_PG_VALUES_H

#include "../../lib/sink/pg_values.h"

#endif
