/* SPDX-License-Identifier: MIT */
#include "private_postgres.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
	FILE *to, *from;
	pid_t pid;
	char dsn[512], tcp_dsn[512];
} server;

static int read_line(char *out, int size)
{
	if (!fgets(out, size, server.from))
		return -1;
	out[strcspn(out, "\n")] = '\0';
	return 0;
}

/* Cuts "dbname=latido" out: each test has its own database. */
static void without_database(char *dsn)
{
	char *p = strstr(dsn, "dbname=");
	size_t n;

	if (!p)
		return;
	n = strcspn(p, " ");
	memmove(p, p + n, strlen(p + n) + 1);
}

int private_postgres_start(void)
{
	int in[2], out[2];

	if (pipe(in) || pipe(out))
		return -1;
	server.pid = fork();
	if (server.pid < 0)
		return -1;
	if (server.pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		close(in[0]);
		close(in[1]);
		close(out[0]);
		close(out[1]);
		execl("/usr/bin/python3", "python3", "tests/support/private_postgres.py",
			(char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	server.to = fdopen(in[1], "w");
	server.from = fdopen(out[0], "r");
	if (!server.to || !server.from || read_line(server.dsn, sizeof(server.dsn)) ||
		read_line(server.tcp_dsn, sizeof(server.tcp_dsn))) {
		fprintf(stderr, "tests/support/private_postgres.py did not start a server; "
				"run this in the repository's top folder\n");
		return -1;
	}
	without_database(server.dsn);
	without_database(server.tcp_dsn);
	return 0;
}

void private_postgres_stop(void)
{
	if (server.to)
		fclose(server.to);
	if (server.from)
		fclose(server.from);
	while (server.pid > 0 && waitpid(server.pid, NULL, 0) < 0 && errno == EINTR)
		;
	memset(&server, 0, sizeof(server));
}

const char *private_postgres_dsn(void)
{
	return server.dsn;
}

const char *private_postgres_tcp_dsn(void)
{
	return server.tcp_dsn;
}

void private_postgres_do(const char *what)
{
	char answer[64];

	fprintf(server.to, "%s\n", what);
	fflush(server.to);
	if (read_line(answer, sizeof(answer)) || strcmp(answer, "done")) {
		fprintf(stderr, "the private PostgreSQL did not %s\n", what);
		abort();
	}
}
