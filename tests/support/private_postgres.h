/* SPDX-License-Identifier: MIT */
#ifndef LATIDO_TESTS_PRIVATE_POSTGRES_H
#define LATIDO_TESTS_PRIVATE_POSTGRES_H

/*
 * A PostgreSQL server of this test program alone, run by private_postgres.py; programs are started
 * in the repository's top folder. Ends with the program, however that ends.
 */

/** private_postgres_start() - Return: 0, or -1 when it does not start (stderr says why). */
int private_postgres_start(void);
void private_postgres_stop(void);
/** private_postgres_dsn() - without a database name; superuser over a unix socket. */
const char *private_postgres_dsn(void);
/** private_postgres_tcp_dsn() - the same by TCP, which asks for the password "secret". */
const char *private_postgres_tcp_dsn(void);
/** private_postgres_do() - "kill", "pause", "resume" or "start"; returns when it is done. */
void private_postgres_do(const char *what);

#endif
