/* AES-256-GCM over a ring of keys. A sealed text is: format (1), length of the key's id, the id, 12 bytes of nonce, as many bytes as the
 * text has, 16 bytes of tag. Nonces are random: 2^32 texts a key are far beyond what is kept here. */
#include "base/seal.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/mem.h"
#include "base/sha.h"

#define FORMAT 1
#define KEY_BYTES 32
#define KEY_DIGITS 64
#define ID_DIGITS 8
#define NONCE 12
#define TAG 16
#define BETWEEN " \t\r\n,"

struct key {
    char id[SEAL_ID_MAX];
    unsigned char bytes[KEY_BYTES];
};
struct seal {
    struct key keys[SEAL_KEYS_MAX];
    size_t n;
};

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 32);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_key(struct str text, struct key *ret)
{
    char hash[SHA256_TEXT];
    if (text.n != KEY_DIGITS)
        return false;
    for (size_t i = 0; i < KEY_BYTES; i++) {
        int high = digit(text.p[2 * i]), low = digit(text.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        ret->bytes[i] = (unsigned char)(high << 4 | low);
    }
    sha256_hex(ret->bytes, KEY_BYTES, hash);
    memcpy(ret->id, hash, ID_DIGITS);
    ret->id[ID_DIGITS] = '\0';
    return true;
}

rc_t seal_new(struct seal **ret, const char *text, struct err *e)
{
    struct seal *s = mem_alloc(sizeof *s);
    rc_t rc = OK;
    for (const char *at = text; rc == OK && *(at += strspn(at, BETWEEN)); at += strcspn(at, BETWEEN)) {
        if (s->n == SEAL_KEYS_MAX)
            rc = err_set(e, E_INVALID, "at most %d keys are taken", SEAL_KEYS_MAX);
        else if (!read_key((struct str){at, strcspn(at, BETWEEN)}, &s->keys[s->n++]))
            rc = err_set(e, E_INVALID, "key %zu is not %d hex digits (openssl rand -hex %d makes one)", s->n,
                         KEY_DIGITS, KEY_BYTES);
    }
    if (rc == OK)
        *ret = s;
    else
        seal_free(s);
    return rc;
}

rc_t seal_check(const char *text, struct err *e)
{
    struct seal *s = NULL;
    rc_t rc = seal_new(&s, text, e);
    seal_free(s);
    return rc;
}

void seal_free(struct seal *s)
{
    if (!s)
        return;
    explicit_bzero(s, sizeof *s);
    mem_free(s);
}

const char *seal_key_id(const struct seal *s)
{
    return s->n ? s->keys[0].id : "";
}

/* getrandom gives so few bytes whole, or the kernel has none: nothing can be sealed then. */
static void random_bytes(unsigned char *out, size_t n)
{
    if (getrandom(out, n, 0) != (ssize_t)n)
        abort();
}

/* EVP fails only without memory or without its provider; a tag that is wrong is told by EVP_CipherFinal_ex. */
static void must(int ok)
{
    if (ok != 1)
        abort();
}

static EVP_CIPHER_CTX *begin(const struct key *k, const unsigned char *nonce, struct str bound, int encrypt)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0;
    must(ctx != NULL);
    must(EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, k->bytes, nonce, encrypt));
    must(EVP_CipherUpdate(ctx, NULL, &n, (const unsigned char *)bound.p, (int)bound.n));
    return ctx;
}

rc_t seal_close(const struct seal *s, struct str plain, struct str bound, struct buf *out, struct err *e)
{
    unsigned char nonce[NONCE], tag[TAG];
    int n = 0;
    if (s->n == 0)
        return err_set(e, E_NOTFOUND, "there is no key to seal with");
    if (plain.n > 1u << 20)
        return err_set(e, E_LIMIT, "at most 1 MiB is sealed");
    const struct key *k = &s->keys[0];
    random_bytes(nonce, NONCE);
    buf_addc(out, FORMAT);
    buf_addc(out, ID_DIGITS);
    buf_add(out, k->id, ID_DIGITS);
    buf_add(out, nonce, NONCE);
    buf_reserve(out, plain.n + TAG);
    EVP_CIPHER_CTX *ctx = begin(k, nonce, bound, 1);
    unsigned char *to = (unsigned char *)out->data + out->len;
    if (plain.n)
        must(EVP_CipherUpdate(ctx, to, &n, (const unsigned char *)plain.p, (int)plain.n));
    must(EVP_CipherFinal_ex(ctx, to + n, &n));
    must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG, tag));
    EVP_CIPHER_CTX_free(ctx);
    out->len += plain.n;
    buf_add(out, tag, TAG);
    return OK;
}

static const struct key *find(const struct seal *s, struct str id)
{
    for (size_t i = 0; i < s->n; i++)
        if (str_eqz(id, s->keys[i].id))
            return &s->keys[i];
    return NULL;
}

/* text: what is between the nonce and the tag. */
static rc_t decrypt(const struct key *k, const unsigned char *nonce, struct str text, struct str bound, struct buf *out,
                    struct err *e)
{
    unsigned char tag[TAG];
    int n = 0;
    memcpy(tag, text.p + text.n, TAG);
    buf_reserve(out, text.n + 1);
    EVP_CIPHER_CTX *ctx = begin(k, nonce, bound, 0);
    unsigned char *to = (unsigned char *)out->data + out->len;
    if (text.n)
        must(EVP_CipherUpdate(ctx, to, &n, (const unsigned char *)text.p, (int)text.n));
    must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG, tag));
    int right = EVP_CipherFinal_ex(ctx, to + n, &n);
    EVP_CIPHER_CTX_free(ctx);
    if (right != 1) {
        explicit_bzero(to, text.n);
        return err_set(e, E_INVALID, "a sealed text was changed, or belongs elsewhere");
    }
    out->len += text.n;
    out->data[out->len] = '\0';
    return OK;
}

rc_t seal_open(const struct seal *s, struct str sealed, struct str bound, struct buf *out, struct err *e)
{
    size_t id_n = sealed.n > 2 ? (unsigned char)sealed.p[1] : 0, head = 2 + id_n + NONCE;
    if (sealed.n < head + TAG || sealed.p[0] != FORMAT || id_n == 0 || id_n >= SEAL_ID_MAX)
        return err_set(e, E_INVALID, "a sealed text has another form");
    struct str id = {sealed.p + 2, id_n};
    const struct key *k = find(s, id);
    if (!k)
        return err_set(e, E_NOTFOUND, "it was sealed with key %.*s, which is not among the keys that were given",
                       STR_FMT(id));
    return decrypt(k, (const unsigned char *)sealed.p + 2 + id_n, (struct str){sealed.p + head, sealed.n - head - TAG},
                   bound, out, e);
}

void seal_key_make(struct buf *out)
{
    unsigned char bytes[KEY_BYTES];
    random_bytes(bytes, KEY_BYTES);
    for (size_t i = 0; i < KEY_BYTES; i++)
        buf_addf(out, "%02x", bytes[i]);
    explicit_bzero(bytes, KEY_BYTES);
}
