/* Inside metrics/: what the process itself uses, looked up at each rendering. */
#pragma once

void process_refresh(void);
