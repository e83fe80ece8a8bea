/* The default app as a program. */
#include "drift_app.h"

int main(int argc, char **argv)
{
    return app_main(&drift_app, argc, argv);
}
