/* SPDX-License-Identifier: MIT */
#include "live_daemon.h"

int main(int argc, char **argv)
{
	return lt_daemon_main(&live_daemon, argc, argv);
}
