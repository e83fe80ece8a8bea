"""MLRun's own HistogramDataDriftApplication on rows and statistics that are given; prints its answers.

stdin: {"feature_stats": {…}, "columns": {name: [values]}, "endpoint_id": "…", "end": "…"}
stdout: {"general_drift": [value, status], "metrics": {name: value}, "current_stats": {…}, "drift_measures": {…}} or {"error": "words"}"""
import json
import os
import sys

os.environ.update(MLRUN_DBPATH="nop", MLRUN_LOG_LEVEL="ERROR")
out = os.dup(1)  # MLRun prints to stdout
os.dup2(2, 1)
import unittest.mock  # noqa: E402

import pandas  # noqa: E402

for name in ("plotly", "plotly.graph_objects", "plotly.subplots"):  # it draws with them, when asked to; it is not
    sys.modules.setdefault(name, unittest.mock.MagicMock())
from mlrun.model_monitoring.applications import context, histogram_data_drift, results  # noqa: E402


class Silent:
    """What the context wants of a project and of loggers."""
    name = "p"

    def __getattr__(self, name):
        return lambda *a, **k: None


def main():
    given = json.load(sys.stdin)
    at = context.MonitoringApplicationContext.__new__(context.MonitoringApplicationContext)
    at.application_name = "histogram-data-drift"
    at.logger = at.nuclio_logger = Silent()
    at.endpoint_id, at.endpoint_name = given["endpoint_id"], "m"
    at.end_infer_time = pandas.Timestamp(given["end"])
    at._feature_stats, at._sample_df_stats = given["feature_stats"], None
    at._sample_df = pandas.DataFrame(given["columns"])
    try:
        found = histogram_data_drift.HistogramDataDriftApplication().do_tracking(at)
    except Exception as e:  # what it does with strings, for one
        return {"error": f"{type(e).__name__}: {e}"}
    answer = {"metrics": {}}
    for r in found:
        if isinstance(r, results.ModelMonitoringApplicationResult):
            answer[r.name] = [r.value, r.status.value]
        elif isinstance(r, results.ModelMonitoringApplicationMetric):
            answer["metrics"][r.name] = r.value
        else:
            answer[getattr(r.name, "value", r.name)] = r.stats
    return answer


if __name__ == "__main__":
    text = json.dumps(main())
    with os.fdopen(out, "w") as f:
        f.write(text)
