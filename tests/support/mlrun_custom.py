"""A monitoring application as its user writes it: nothing in it knows of modelmon."""
from mlrun.common.schemas.model_monitoring.constants import ResultKindApp, ResultStatusApp
from mlrun.model_monitoring.applications import (ModelMonitoringApplicationBase, ModelMonitoringApplicationMetric,
                                                 ModelMonitoringApplicationResult)


class RowsAndNames(ModelMonitoringApplicationBase):
    def __init__(self, least=0):
        self.least = least

    def do_tracking(self, monitoring_context):
        at = monitoring_context
        if at.endpoint_name == "breaks":
            raise ValueError("this endpoint is one too many")
        rows = at.sample_df
        assert at.model_endpoint.metadata.uid == at.endpoint_id and at.project.name == at.project_name
        return [ModelMonitoringApplicationResult(name="row_count", value=len(rows), kind=ResultKindApp.mm_app_anomaly,
                                                 status=ResultStatusApp.detected if len(rows) < self.least else ResultStatusApp.no_detection,
                                                 extra_data={"columns": list(rows.columns), "features": at.feature_names,
                                                             "labels": at.label_names, "references": sorted(at.feature_stats)}),
                *(ModelMonitoringApplicationMetric(name=f"mean_{c}", value=float(rows[c].mean())) for c in rows.columns)]
