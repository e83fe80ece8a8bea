/* The writer as a program. */
#include "writer_service.h"

int main(int argc, char **argv)
{
    return service_run(writer_service, argc, argv);
}
