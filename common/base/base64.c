/* Base64 by OpenSSL's EVP, which is lax about blanks and padding: those are looked at here. */
#include "base/base64.h"

#include <openssl/evp.h>
#include <string.h>

void base64_add(struct buf *out, struct str bytes)
{
    buf_reserve(out, (bytes.n + 2) / 3 * 4 + 1);
    out->len += (size_t)EVP_EncodeBlock((unsigned char *)out->data + out->len, (const unsigned char *)bytes.p,
                                        (int)bytes.n);
}

rc_t base64_read(struct str text, struct buf *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t padding = 0;
    while (padding < 2 && padding < text.n && text.p[text.n - padding - 1] == '=')
        padding++;
    for (size_t i = 0; i + padding < text.n; i++)
        if (!memchr(digits, text.p[i], sizeof digits - 1))
            return E_INVALID;
    if (text.n % 4 || text.n > 1u << 24)
        return E_INVALID;
    buf_reserve(out, text.n);
    int n = EVP_DecodeBlock((unsigned char *)out->data + out->len, (const unsigned char *)text.p, (int)text.n);
    if (n < 0)
        return E_INVALID;
    out->len += (size_t)n - padding;
    out->data[out->len] = '\0';
    return OK;
}
