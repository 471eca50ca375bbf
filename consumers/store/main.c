/* SPDX-License-Identifier: MIT */
#include "store.h"

int main(int argc, char **argv)
{
	return lt_daemon_main(&store_daemon, argc, argv);
}
