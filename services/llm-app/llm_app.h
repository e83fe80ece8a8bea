/* The app, to be run alone or with others. */
#pragma once
#include "app/app.h"

extern const struct app llm_app;
