/* The app as a program. */
#include "llm_app.h"

int main(int argc, char **argv)
{
    return app_main(&llm_app, argc, argv);
}
