/* The stream service as a program. */
#include "stream_service.h"

int main(int argc, char **argv)
{
    return service_run(stream_service, argc, argv);
}
