/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

static bool is_loopback(const struct sockaddr *a)
{
	const struct sockaddr_in6 *six = (const void *)a;

	if (a->sa_family == AF_INET) {
		const struct sockaddr_in *four = (const void *)a;

		return ntohl(four->sin_addr.s_addr) >> 24 == 127;
	}
	if (a->sa_family != AF_INET6)
		return false;
	if (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
		return six->sin6_addr.s6_addr[12] == 127;
	return IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
}

static int check_host(const char *host, struct lt_err *err)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;
	int rc = getaddrinfo(host, NULL, &hints, &list);
	bool ours = rc == 0;

	if (rc != 0)
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "load.address",
			"the host '%.200s' is not known (%s)", host, gai_strerror(rc));
	/* Each of them: any may be the one that is connected to. */
	for (const struct addrinfo *a = list; a; a = a->ai_next)
		ours = ours && is_loopback(a->ai_addr);
	freeaddrinfo(list);
	if (ours)
		return LT_OK;
	return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "load.address",
		"'%.200s' is not this machine; load may harm others: --i-own-this says that it is "
		"yours",
		host);
}

int load_check_address(const char *url, struct lt_err *err)
{
	const char *p = strstr(url, "://");
	int rc = LT_OK;

	if (!p)
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "load.address",
			"'%.200s' is not an address like mqtt://127.0.0.1:1883", url);
	for (p += 3; rc == LT_OK; p++) {
		size_t n = strcspn(p, ",/?#");
		const char *at = memchr(p, '@', n);
		const char *host = at ? at + 1 : p;
		size_t len = n - (size_t)(host - p);
		const char *end;
		char *name;

		if (*host == '[' && (end = memchr(host, ']', len))) {
			host++;
			len = (size_t)(end - host);
		} else if ((end = memchr(host, ':', len))) {
			len = (size_t)(end - host);
		}
		name = lt_strndup(host, len);
		rc = check_host(name, err);
		free(name);
		p += n;
		if (*p != ',')
			break;
	}
	return rc;
}
