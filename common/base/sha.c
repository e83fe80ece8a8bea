/* SHA digests by OpenSSL's EVP. */
#include "base/sha.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

struct sha256 {
    EVP_MD_CTX *ctx;
};

/* EVP fails only without memory or without its provider: nothing here can go on then. */
static void must(int ok)
{
    if (ok != 1)
        abort();
}

static void to_hex(const unsigned char *digest, size_t n, char *out)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = hex[digest[i] >> 4];
        out[2 * i + 1] = hex[digest[i] & 15];
    }
    out[2 * n] = '\0';
}

static void digest_hex(const EVP_MD *md, const void *p, size_t n, char *out)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    must(EVP_Digest(p, n, digest, &len, md, NULL));
    to_hex(digest, len, out);
}

void sha1_hex(const void *p, size_t n, char out[SHA1_TEXT])
{
    digest_hex(EVP_sha1(), p, n, out);
}

void sha256_hex(const void *p, size_t n, char out[SHA256_TEXT])
{
    digest_hex(EVP_sha256(), p, n, out);
}

void sha256_bytes(const void *p, size_t n, unsigned char out[SHA256_BYTES])
{
    unsigned int len = 0;
    must(EVP_Digest(p, n, out, &len, EVP_sha256(), NULL));
}

bool sha256_same(const unsigned char a[SHA256_BYTES], const unsigned char b[SHA256_BYTES])
{
    return CRYPTO_memcmp(a, b, SHA256_BYTES) == 0;
}

struct sha256 *sha256_new(void)
{
    struct sha256 *s = mem_alloc(sizeof *s);
    s->ctx = EVP_MD_CTX_new();
    must(s->ctx != NULL);
    must(EVP_DigestInit_ex(s->ctx, EVP_sha256(), NULL));
    return s;
}

void sha256_add(struct sha256 *s, const void *p, size_t n)
{
    must(EVP_DigestUpdate(s->ctx, p, n));
}

void sha256_take_hex(struct sha256 *s, char out[SHA256_TEXT])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    must(EVP_DigestFinal_ex(s->ctx, digest, &len));
    to_hex(digest, len, out);
    sha256_free(s);
}

void sha256_free(struct sha256 *s)
{
    if (s == NULL)
        return;
    EVP_MD_CTX_free(s->ctx);
    mem_free(s);
}

static ssize_t read_some(int fd, void *p, size_t n)
{
    ssize_t got;
    do
        got = read(fd, p, n);
    while (got < 0 && errno == EINTR);
    return got;
}

rc_t sha256_file_hex(const char *path, char out[SHA256_TEXT], struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(e, errno == ENOENT ? E_NOTFOUND : E_FATAL, "%s: %s", path, strerror(errno));
    struct sha256 *s = sha256_new();
    char *chunk = mem_alloc(1 << 16);
    ssize_t got;
    while ((got = read_some(fd, chunk, 1 << 16)) > 0)
        sha256_add(s, chunk, (size_t)got);
    rc_t rc = got < 0 ? err_set(e, E_FATAL, "%s: %s", path, strerror(errno)) : OK;
    if (rc == OK) {
        sha256_take_hex(s, out);
        s = NULL;
    }
    sha256_free(s);
    mem_free(chunk);
    (void)close(fd); /* only read */
    return rc;
}
