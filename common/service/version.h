/* What --version says: the programs are linked with the one that scripts/version writes, tests with "test". */
#pragma once
extern const char build_version[];
