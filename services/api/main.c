/* The api as a program. */
#include <stdio.h>
#include <string.h>
#include "api.h"
#include "api_service.h"

static int print(void (*write)(struct buf *out))
{
    struct buf out = {0};
    write(&out);
    (void)fwrite(out.data, 1, out.len, stdout); /* a closed stdout is the caller's wish */
    buf_done(&out);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--routes-markdown") == 0)
        return print(api_routes_markdown);
    if (argc == 2 && strcmp(argv[1], "--openapi") == 0)
        return print(api_openapi);
    return service_run(api_service, argc, argv);
}
