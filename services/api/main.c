/* The api as a program. */
#include <stdio.h>
#include <string.h>
#include "api.h"
#include "api_service.h"

static int print_routes(void)
{
    struct buf out = {0};
    api_routes_markdown(&out);
    (void)fwrite(out.data, 1, out.len, stdout); /* a closed stdout is the caller's wish */
    buf_done(&out);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--routes-markdown") == 0)
        return print_routes();
    return service_run(api_service, argc, argv);
}
