/* What the demo's exit code is made of. */
#pragma once
#include "event/result.h"
#include "tool.h"

/* Statuses of general_drift: of the penguins the model knows, and of those it does not. A window without an answer is no story. */
static inline int demo_verdict(int before, int after)
{
    bool quiet = before == STATUS_NO_DETECTION || before == STATUS_POTENTIAL;
    return quiet && after == STATUS_DETECTED ? TOOL_DONE : TOOL_FAILED;
}
