/* The controller as a program. */
#include "controller_service.h"

int main(int argc, char **argv)
{
    return service_run(controller_service, argc, argv);
}
