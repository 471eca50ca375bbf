/* SPDX-License-Identifier: MIT */
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "live.h"

static struct ssl_ctx_st *fail(SSL_CTX *ctx, const char *what, const char *file, struct lt_err *err)
{
	char text[200];

	ERR_error_string_n(ERR_get_error(), text, sizeof(text));
	ERR_clear_error();
	SSL_CTX_free(ctx);
	lt_fail(err, LT_ECONF, LT_CLS_CONFIG, "live.tls", "%s %s: %s", what, file, text);
	return NULL;
}

struct ssl_ctx_st *tls_load(const char *cert, const char *key, struct lt_err *err)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (!ctx)
		return fail(NULL, "TLS", "cannot start", err);
	/* Intermediate profile of Mozilla's recommendations, with OpenSSL's own order. */
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	if (SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1)
		return fail(ctx, "TLS", "ciphers", err);
	if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1)
		return fail(ctx, "live.tls.cert_file", cert, err);
	if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
		return fail(ctx, "live.tls.key_file", key, err);
	if (SSL_CTX_check_private_key(ctx) != 1)
		return fail(ctx, "live.tls.key_file does not fit the certificate:", key, err);
	return ctx;
}
