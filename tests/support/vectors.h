/* Files of tests/vectors as JSON documents. Tests run in the top folder. */
#pragma once
#include "base/buf.h"
#include "json/doc.h"

void file_read(const char *path, struct buf *out); /* fails the test when it cannot */
struct json *vectors_load(const char *name);       /* "runner.json"; json_free */
