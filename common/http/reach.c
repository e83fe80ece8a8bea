/* The address blocks that are not the public Internet (IANA's special-purpose registries). */
#include "http/reach.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>

struct block4 {
    uint32_t net;
    int bits;
};

static const struct block4 special4[] = {
    {0x00000000, 8},  /* this network */
    {0x0A000000, 8},  /* private */
    {0x64400000, 10}, /* carrier-grade NAT */
    {0x7F000000, 8},  /* loopback */
    {0xA9FE0000, 16}, /* link-local, cloud metadata */
    {0xAC100000, 12}, /* private */
    {0xC0000000, 24}, /* protocol assignments */
    {0xC0000200, 24}, /* documentation */
    {0xC0586300, 24}, /* 6to4 relays */
    {0xC0A80000, 16}, /* private */
    {0xC6120000, 15}, /* benchmarks */
    {0xC6336400, 24}, /* documentation */
    {0xCB007100, 24}, /* documentation */
    {0xE0000000, 3},  /* multicast and reserved */
};

static bool in_block4(uint32_t addr, uint32_t net, int bits)
{
    return (addr ^ net) >> (32 - bits) == 0;
}

static bool is_public4(uint32_t addr)
{
    for (size_t i = 0; i < sizeof special4 / sizeof *special4; i++)
        if (in_block4(addr, special4[i].net, special4[i].bits))
            return false;
    return true;
}

static bool allows4(enum http_reach reach, uint32_t addr)
{
    return reach == HTTP_REACH_PUBLIC ? is_public4(addr) : in_block4(addr, 0x7F000000, 8);
}

/* Only 2000::/3 is public, and of it not what carries or documents other addresses. */
static bool is_public6(const unsigned char a[16])
{
    bool global = (a[0] & 0xE0) == 0x20;
    bool assigned = a[0] == 0x20 && a[1] == 0x01 && a[2] < 0x02;                    /* 2001::/23: Teredo, ORCHID … */
    bool documented = a[0] == 0x20 && a[1] == 0x01 && a[2] == 0x0D && a[3] == 0xB8; /* 2001:db8::/32 */
    bool six_to_four = a[0] == 0x20 && a[1] == 0x02;
    bool documented2 = a[0] == 0x3F && a[1] == 0xFF && a[2] < 0x10; /* 3fff::/20 */
    return global && !assigned && !documented && !six_to_four && !documented2;
}

static bool allows6(enum http_reach reach, const struct in6_addr *addr)
{
    if (IN6_IS_ADDR_V4MAPPED(addr)) {
        uint32_t v4;
        memcpy(&v4, addr->s6_addr + 12, sizeof v4);
        return allows4(reach, ntohl(v4));
    }
    return reach == HTTP_REACH_PUBLIC ? is_public6(addr->s6_addr) : IN6_IS_ADDR_LOOPBACK(addr);
}

bool reach_allows(enum http_reach reach, const struct sockaddr *addr)
{
    if (reach == HTTP_REACH_ANY)
        return addr->sa_family == AF_INET || addr->sa_family == AF_INET6;
    if (addr->sa_family == AF_INET)
        return allows4(reach, ntohl(((const struct sockaddr_in *)(const void *)addr)->sin_addr.s_addr));
    if (addr->sa_family == AF_INET6)
        return allows6(reach, &((const struct sockaddr_in6 *)(const void *)addr)->sin6_addr);
    return false;
}
