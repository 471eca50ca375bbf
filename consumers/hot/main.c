/* SPDX-License-Identifier: MIT */
#include "hot.h"

int main(int argc, char **argv)
{
	return lt_daemon_main(&hot_daemon, argc, argv);
}
