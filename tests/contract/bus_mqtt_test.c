/* SPDX-License-Identifier: MIT */
/*
 * What only MQTT has: credentials, TLS, limits of the broker, and all the ways not to get a
 * connection. tests/integration/test_bus_contract.py provides brokers and runs this; without them
 * only what needs none is tested.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "../support/bus_fixture.h"
#include "../support/relay.h"

static const char *env(const char *name)
{
	const char *v = getenv(name);

	if (!v)
		fail_msg("%s is not set", name);
	return v;
}

static void set(char **field, const char *value)
{
	free(*field);
	*field = lt_strdup(value);
}

/* A file beside the certificate authority of that broker. */
static void set_cert(char **field, const char *folder, const char *file)
{
	free(*field);
	*field = lt_asprintf("%s/%s", env(folder), file);
}

static void assert_says(
	const struct lt_err *err, enum lt_code code, enum lt_class cls, const char *text)
{
	if (err->code != code || err->cls != cls || !strstr(err->msg, text))
		fail_msg("expected %s, class %d, '%s'; it is %s, class %d: %s", lt_code_name(code),
			cls, text, lt_code_name(err->code), err->cls, err->msg);
}

static void credentials(void **state)
{
	const char *url = env("LT_TEST_MQTT_AUTH_URL"), *t = topic("x");
	struct peer wrong, none, good;

	(void)state;
	peer_conf(&wrong, &loop, url, id("wrong"));
	set(&wrong.conf.mqtt.username, "user");
	set(&wrong.conf.mqtt.password, "not it");
	peer_open(&wrong, NULL, false, false);
	peer_conf(&none, &loop, url, id("none"));
	peer_open(&none, (const char *[]){t, NULL}, true, false);
	peer_conf(&good, &loop, url, id("good"));
	set(&good.conf.mqtt.username, "user");
	set(&good.conf.mqtt.password, "secret");
	peer_open(&good, NULL, false, false);
	peer_wait_worst(&wrong);
	assert_says(&wrong.worst, LT_EAUTH, LT_CLS_CONFIG, "bus.mqtt.password");
	assert_non_null(strstr(wrong.worst.msg, "'user'"));
	assert_null(strstr(wrong.worst.msg, "not it"));
	peer_wait_worst(&none);
	assert_says(&none.worst, LT_EAUTH, LT_CLS_CONFIG, "anonymous");
	peer_wait_up(&good);
	assert_int_equal(good.n_down, 0);
	assert_int_equal(wrong.n_up, 0);
	peer_close(&wrong);
	peer_close(&none);
	peer_close(&good);
}

static void forbidden_topic(void **state)
{
	struct lt_bus_out m = {.data = "x", .size = 1};
	struct peer p;

	(void)state;
	peer_conf(&p, &loop, env("LT_TEST_MQTT_AUTH_URL"), id("p"));
	set(&p.conf.mqtt.username, "user");
	set(&p.conf.mqtt.password, "secret");
	peer_open(&p, NULL, false, false);
	peer_wait_up(&p);
	m.topic = "open/x";
	assert_int_equal(peer_try_publish(&p, &m, NULL), LT_OK);
	m.topic = "closed/x";
	assert_int_equal(peer_try_publish(&p, &m, NULL), LT_OK);
	m.topic = "open/y";
	assert_int_equal(peer_try_publish(&p, &m, NULL), LT_OK);
	peer_wait_reported(&p);
	assert_int_equal(p.codes[0], LT_OK);
	assert_int_equal(p.codes[1], LT_EAUTH);
	assert_int_equal(p.codes[2], LT_OK);
	assert_says(&p.publish_err, LT_EAUTH, LT_CLS_CONFIG, "closed/x");
	assert_true(p.connected);
	peer_close(&p);
}

static void tls_peer(struct peer *p, const char *name, const char *url, const char *ca)
{
	peer_conf(p, &loop, url, id(name));
	if (ca)
		set_cert(&p->conf.mqtt.ca_file, "LT_TEST_TLS_CERTS", ca);
}

static void tls_works(void **state)
{
	const char *t = topic("x"), *url = env("LT_TEST_MQTT_TLS_URL");
	size_t size = 1 << 20;
	char *big = lt_calloc(1, size);
	struct peer p;

	(void)state;
	memset(big, 'b', size - 1);
	tls_peer(&p, "p", url, "ca.crt");
	peer_open(&p, (const char *[]){t, NULL}, true, false);
	peer_wait_up(&p);
	for (int i = 0; i < 20; i++)
		peer_publish_text(&p, t, "over TLS");
	peer_publish(&p, t, big, size, false);
	peer_wait_reported(&p);
	peer_wait_got(&p, 21);
	assert_int_equal(p.got[20].size, size);
	assert_memory_equal(p.got[20].data, big, size);
	assert_int_equal(p.n_down, 0);
	free(big);
	peer_close(&p);
}

static void tls_refusals(void **state)
{
	const char *url = env("LT_TEST_MQTT_TLS_URL");
	const char *other_name = "mqtts://127.1";
	char *by_other_name = lt_asprintf("%s:%s", other_name, strrchr(url, ':') + 1);
	struct peer wrong_ca, system_ca, wrong_host, unchecked, no_file;

	(void)state;
	tls_peer(&wrong_ca, "wrong-ca", url, "other_ca.crt");
	peer_open(&wrong_ca, NULL, false, false);
	tls_peer(&system_ca, "system-ca", url, NULL);
	peer_open(&system_ca, NULL, false, false);
	tls_peer(&wrong_host, "wrong-host", by_other_name, "ca.crt");
	peer_open(&wrong_host, NULL, false, false);
	tls_peer(&unchecked, "unchecked", by_other_name, "ca.crt");
	unchecked.conf.mqtt.verify_hostname = false;
	peer_open(&unchecked, NULL, false, false);
	tls_peer(&no_file, "no-file", url, "no-such-file.crt");
	peer_open(&no_file, NULL, false, false);

	peer_wait_worst(&wrong_ca);
	assert_says(&wrong_ca.worst, LT_EAUTH, LT_CLS_CONFIG, "other_ca.crt");
	peer_wait_worst(&system_ca);
	assert_says(&system_ca.worst, LT_EAUTH, LT_CLS_CONFIG, "bus.mqtt.ca_file");
	peer_wait_worst(&wrong_host);
	assert_says(&wrong_host.worst, LT_EAUTH, LT_CLS_CONFIG, "'127.1'");
	peer_wait_worst(&no_file);
	assert_says(&no_file.worst, LT_ECONF, LT_CLS_CONFIG, "no-such-file.crt");
	peer_wait_up(&unchecked);
	assert_int_equal(wrong_ca.n_up + system_ca.n_up + wrong_host.n_up + no_file.n_up, 0);
	free(by_other_name);
	peer_close(&wrong_ca);
	peer_close(&system_ca);
	peer_close(&wrong_host);
	peer_close(&unchecked);
	peer_close(&no_file);
}

static void strict_peer(struct peer *p, const char *name, const char *crt, const char *key)
{
	peer_conf(p, &loop, env("LT_TEST_MQTT_STRICT_URL"), id(name));
	set_cert(&p->conf.mqtt.ca_file, "LT_TEST_STRICT_CERTS", "ca.crt");
	if (crt) {
		set_cert(&p->conf.mqtt.cert_file, "LT_TEST_STRICT_CERTS", crt);
		set_cert(&p->conf.mqtt.key_file, "LT_TEST_STRICT_CERTS", key);
	}
}

static void client_certificate(void **state)
{
	struct peer none, other, good;

	(void)state;
	strict_peer(&none, "none", NULL, NULL);
	peer_open(&none, NULL, false, false);
	strict_peer(&other, "other", "other.crt", "other.key");
	peer_open(&other, NULL, false, false);
	strict_peer(&good, "good", "client.crt", "client.key");
	peer_open(&good, NULL, false, false);
	peer_wait_worst(&none);
	assert_says(&none.worst, LT_EAUTH, LT_CLS_CONFIG, "bus.mqtt.cert_file");
	peer_wait_up(&good);
	peer_wait_down(&other);
	assert_int_equal(none.n_up + other.n_up, 0);
	peer_close(&none);
	peer_close(&other);
	peer_close(&good);
}

/* That broker takes packets of 100 000 bytes and 3 messages at once. */
static void limits_of_the_broker(void **state)
{
	enum { LIMIT = 100000 };
	static char payload[LIMIT];
	const char *t = topic("x");
	struct lt_bus_out m = {.topic = t, .data = payload, .size = LIMIT};
	struct lt_err err;
	struct peer p;

	(void)state;
	peer_conf(&p, &loop, env("LT_TEST_MQTT_SMALL_URL"), id("p"));
	peer_open(&p, (const char *[]){t, NULL}, false, false);
	peer_wait_up(&p);
	peer_publish_text(&p, t, "first");
	assert_int_equal(peer_try_publish(&p, &m, &err), LT_EDATA);
	assert_says(&err, LT_EDATA, LT_CLS_POISON, "100000");
	m.size = LIMIT - 100;
	assert_int_equal(peer_try_publish(&p, &m, &err), LT_OK);
	for (int i = 0; i < 200; i++)
		peer_publish_text(&p, t, "more");
	peer_wait_reported(&p);
	peer_wait_got(&p, 202);
	assert_int_equal(p.n_down, 0);
	peer_close(&p);
}

/* Connections are completed by the kernel and nobody ever reads. */
static void nobody_answers(void **state)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct peer p;
	char *url;

	(void)state;
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	url = lt_asprintf("mqtt://127.0.0.1:%d", ntohs(a.sin_port));
	peer_conf(&p, &loop, url, id("p"));
	p.conf.mqtt.connect_timeout_ms = 300;
	peer_open(&p, (const char *[]){topic("x"), NULL}, false, false);
	peer_wait_down(&p);
	assert_says(&p.err, LT_ETIMEOUT, LT_CLS_RETRY, "300 ms");
	p.n_down = 0;
	peer_wait_down(&p);
	peer_close(&p);
	close(fd);
	free(url);
}

static void nobody_listens(void **state)
{
	struct relay *r = relay_new(1); /* takes the connection and resets it */
	char *closes = lt_asprintf("mqtt://127.0.0.1:%d", relay_port(r));
	struct peer refused, unknown, reset;

	(void)state;
	peer_conf(&refused, &loop, "mqtt://127.0.0.1:1", id("refused"));
	peer_open(&refused, NULL, false, false);
	peer_conf(&unknown, &loop, "mqtt://broker.invalid:1883", id("unknown"));
	peer_open(&unknown, NULL, false, false);
	peer_conf(&reset, &loop, closes, id("reset"));
	peer_open(&reset, NULL, false, false);
	peer_wait_down(&refused);
	assert_says(&refused.err, LT_EIO, LT_CLS_RETRY, "Connection refused");
	assert_non_null(strstr(refused.err.msg, "127.0.0.1:1"));
	peer_wait_down(&unknown);
	assert_says(&unknown.err, LT_EIO, LT_CLS_RETRY, "'broker.invalid'");
	peer_wait_down(&reset);
	assert_says(&reset.err, LT_EIO, LT_CLS_RETRY, closes + strlen("mqtt://"));
	peer_close(&refused);
	peer_close(&unknown);
	peer_close(&reset);
	relay_free(r);
	free(closes);
}

/* Its answers are lost with it, and it comes back knowing nothing: all is sent and reported again. */
static void broker_dies_under_load(void **state)
{
	enum { N = 300 };
	const char *t = topic("x");
	struct peer sub, pub;

	(void)state;
	open_peer(&sub, "sub", t, true);
	open_peer(&pub, "pub", NULL, false);
	peers_up(&sub, &pub);
	impl->hold(true);
	for (int i = 0; i < N; i++)
		peer_publish_text(&pub, t, "x");
	impl->broker_stop();
	impl->cut(NULL);
	peer_wait_down(&pub);
	peer_wait_down(&sub);
	assert_int_equal(pub.n_reported, 0);
	impl->hold(false);
	impl->broker_start(true);
	peer_wait_up(&pub);
	peer_wait_up(&sub);
	assert_false(sub.resumed);
	peer_wait_reported(&pub);
	peer_publish_text(&pub, t, "end");
	while (!peer_has(&sub, t, "end"))
		peer_wait_got(&sub, sub.n_got + 1);
	peer_close(&sub);
	peer_close(&pub);
}

static bool failed_again(void *arg)
{
	return ((const struct peer *)arg)->n_down >= 3;
}

/*
 * The broker comes back empty and makes us a session, but its CONNACK is lost. The next one says that
 * there is a session: of one without a subscription.
 */
static void session_made_unseen(void **state)
{
	const char *t = "latido/v1/nodes/w/metrics";
	struct peer sub, pub;

	(void)state;
	start_peer(&sub, "sub");
	sub.conf.mqtt.connect_timeout_ms = 3000;
	peer_open(&sub, (const char *[]){t, NULL}, true, false);
	peers_up(&sub);
	impl->hold(true);
	impl->broker_stop();
	impl->cut(NULL);
	impl->broker_start(true);
	spin(sub.loop, failed_again, &sub);
	impl->hold(false);
	peer_wait_up(&sub);
	open_peer(&pub, "pub", NULL, false);
	peers_up(&pub);
	peer_publish_text(&pub, t, "first");
	while (!peer_has(&sub, t, "first"))
		peer_wait_got(&sub, sub.n_got + 1);
	peer_close(&sub);
	peer_close(&pub);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(int argc, char **argv)
{
	static const struct CMUnitTest without_broker[] = {
		T(nobody_answers),
		T(nobody_listens),
	};
	static const struct CMUnitTest with_broker[] = {
		T(credentials),
		T(forbidden_topic),
		T(tls_works),
		T(tls_refusals),
		T(client_certificate),
		T(limits_of_the_broker),
		T(broker_dies_under_load),
		T(session_made_unseen),
	};
	int failed;

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	/* It must not matter: paho would take it for MQTT. */
	setenv("http_proxy", "http://127.0.0.1:1", 1);
	setenv("https_proxy", "http://127.0.0.1:1", 1);
	impl = &bus_impl_mem; /* for the loop and the names only */
	failed = cmocka_run_group_tests_name("mqtt without broker", without_broker, NULL, NULL);
	if (bus_impl_mqtt.available()) {
		impl = &bus_impl_mqtt;
		failed += cmocka_run_group_tests_name("mqtt", with_broker, NULL, NULL);
	}
	return failed ? 1 : 0;
}
