/* SPDX-License-Identifier: MIT */
#include <MQTTAsync.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bus_mqtt.h"

#define PROBE_MS 1000

static const char *reason_text(int reason)
{
	const char *s = MQTTReasonCode_toString((enum MQTTReasonCodes)reason);

	return s ? s : "unknown reason";
}

int lt_mq_err_connack(const struct lt_mq_worker *w, int reason, struct lt_err *err)
{
	const struct lt_mq_core *c = w->core;

	switch (reason) {
	case MQTTREASONCODE_BAD_USER_NAME_OR_PASSWORD:
	case MQTTREASONCODE_NOT_AUTHORIZED:
	case MQTTREASONCODE_BAD_AUTHENTICATION_METHOD:
	case MQTTREASONCODE_BANNED:
		return lt_fail(err, LT_EAUTH, LT_CLS_CONFIG, "mqtt.connect",
			"the broker at %s:%d refuses %s%s%s: %s; check bus.mqtt.username and "
			"bus.mqtt.password_file",
			c->host, c->port, c->username[0] ? "user '" : "anonymous users",
			c->username, c->username[0] ? "'" : "", reason_text(reason));
	case MQTTREASONCODE_CLIENT_IDENTIFIER_NOT_VALID:
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "mqtt.connect",
			"the broker at %s:%d does not accept the client id '%s' "
			"(bus.mqtt.client_id)",
			c->host, c->port, w->client_id);
	case 1: /* how brokers that know only MQTT 3 say it */
	case MQTTREASONCODE_UNSUPPORTED_PROTOCOL_VERSION:
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "mqtt.connect",
			"the broker at %s:%d does not speak MQTT 5", c->host, c->port);
	case MQTTREASONCODE_USE_ANOTHER_SERVER:
	case MQTTREASONCODE_SERVER_MOVED:
		return lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "mqtt.connect",
			"the broker at %s:%d says: %s; change bus.url", c->host, c->port,
			reason_text(reason));
	default:
		return lt_fail(err, LT_EIO, LT_CLS_RETRY, "mqtt.connect",
			"the broker at %s:%d refuses the connection: %s (0x%02x)", c->host, c->port,
			reason_text(reason), (unsigned)reason);
	}
}

int lt_mq_err_subscribe(const char *filter, int reason, struct lt_err *err)
{
	return lt_fail(err, LT_EAUTH, LT_CLS_CONFIG, "mqtt.subscribe",
		"the broker refuses the subscription to '%.200s': %s (0x%02x); check the broker's "
		"access rules for this user",
		filter, reason_text(reason), (unsigned)reason);
}

int lt_mq_err_disconnect(const struct lt_mq_worker *w, int reason, struct lt_err *err)
{
	const struct lt_mq_core *c = w->core;

	switch (reason) {
	case MQTTREASONCODE_NOT_AUTHORIZED:
		return lt_fail(err, LT_EAUTH, LT_CLS_CONFIG, "mqtt.connect",
			"the broker at %s:%d closed the connection: %s", c->host, c->port,
			reason_text(reason));
	default:
		return lt_fail(err, LT_EIO, LT_CLS_RETRY, "mqtt.connect",
			"the broker at %s:%d closed the connection: %s (0x%02x)", c->host, c->port,
			reason_text(reason), (unsigned)reason);
	}
}

int lt_mq_err_puback(int reason, const char *topic, struct lt_err *err)
{
	if (reason == MQTTREASONCODE_NOT_AUTHORIZED)
		return lt_fail(err, LT_EAUTH, LT_CLS_CONFIG, "mqtt.publish",
			"the broker does not allow this user to publish to '%.200s'", topic);
	return lt_fail(err, LT_EDATA, LT_CLS_POISON, "mqtt.publish",
		"the broker refuses a message to '%.200s': %s (0x%02x)", topic, reason_text(reason),
		(unsigned)reason);
}

int lt_mq_err_tls(const struct lt_mq_core *c, const char *text, struct lt_err *err)
{
	if (strstr(text, "certificate verify failed"))
		return lt_fail(err, LT_EAUTH, LT_CLS_CONFIG, "mqtt.tls",
			"the certificate of the broker at %s:%d is not trusted: it is expired or "
			"not signed by %s (bus.mqtt.ca_file)",
			c->host, c->port, c->ca_file[0] ? c->ca_file : "a CA of this system");
	if (strstr(text, "alert"))
		return lt_fail(err, LT_EAUTH, LT_CLS_CONFIG, "mqtt.tls",
			"the broker at %s:%d refuses our side of TLS (%s); check "
			"bus.mqtt.cert_file and bus.mqtt.key_file",
			c->host, c->port, text);
	if (text[0])
		return lt_fail(err, LT_EAUTH, LT_CLS_CONFIG, "mqtt.tls", "TLS to %s:%d failed: %s",
			c->host, c->port, text);
	/* Neither paho nor OpenSSL says which of them it was. */
	return lt_fail(err, LT_EAUTH, LT_CLS_CONFIG, "mqtt.tls",
		"the TLS handshake with %s:%d was not completed:%s%s%s%s", c->host, c->port,
		c->verify_hostname ? " the broker's certificate does not name the host '" : "",
		c->verify_hostname ? c->host : "",
		c->verify_hostname ? "' (use a name of the certificate in bus.url), or" : "",
		c->cert_file[0] ? " the broker does not accept the certificate in "
				  "bus.mqtt.cert_file"
				: " the broker wants a client certificate (bus.mqtt.cert_file, "
				  "bus.mqtt.key_file)");
}

int lt_mq_err_resolve(const struct lt_mq_core *c, int rc, struct lt_err *err)
{
	return lt_fail(err, LT_EIO, LT_CLS_RETRY, "mqtt.resolve",
		"cannot find the address of the broker '%s' (bus.url): %s", c->host,
		rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
}

/* Connect to one address. Return: 0 or an errno. */
static int try_connect(const struct addrinfo *a)
{
	struct pollfd p = {.events = POLLOUT};
	socklen_t len = sizeof(int);
	int rc = 0;

	p.fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (p.fd < 0)
		return errno;
	if (connect(p.fd, a->ai_addr, a->ai_addrlen) < 0) {
		rc = errno;
		if (rc == EINPROGRESS) {
			rc = ETIMEDOUT;
			if (poll(&p, 1, PROBE_MS) == 1 &&
				getsockopt(p.fd, SOL_SOCKET, SO_ERROR, &rc, &len) < 0)
				rc = errno;
		}
	}
	close(p.fd);
	return rc;
}

int lt_mq_err_tcp(const struct lt_mq_core *c, struct lt_err *err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *res = NULL;
	char port[8];
	int rc;

	snprintf(port, sizeof(port), "%d", c->port);
	rc = getaddrinfo(c->host, port, &hints, &res);
	if (rc != 0)
		return lt_mq_err_resolve(c, rc, err);
	for (const struct addrinfo *a = res; a; a = a->ai_next) {
		rc = try_connect(a);
		if (rc == 0)
			break;
	}
	freeaddrinfo(res);
	if (rc == 0)
		return LT_OK;
	return lt_fail(err, rc == ETIMEDOUT ? LT_ETIMEOUT : LT_EIO, LT_CLS_RETRY, "mqtt.connect",
		"cannot connect to the broker at %s:%d: %s", c->host, c->port, strerror(rc));
}
