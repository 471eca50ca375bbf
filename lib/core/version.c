/* SPDX-License-Identifier: MIT */
#include "version.h"

#include "latido/daemon.h"

const char *lt_daemon_version(void)
{
	return LT_VERSION " (" LT_COMMIT ")";
}
