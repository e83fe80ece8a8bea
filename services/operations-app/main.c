/* The app as a program. */
#include "operations_app.h"

int main(int argc, char **argv)
{
    return app_main(&operations_app, argc, argv);
}
