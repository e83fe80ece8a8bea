/* The lists of rows that routes name: of queries (params.c) and of bodies (bodies.c). Each ends with a row that has no name. */
#pragma once
#include "param.h"

extern const struct param params_projects[], params_project_name[], params_period[], params_enable[], params_disable[],
    params_functions_end[], params_metrics[], params_metrics_of_several[], params_metrics_delete[], params_span[],
    params_summaries[], params_summary[], params_credentials[], params_credentials_old[], params_secrets[];
extern const struct param params_alert[], params_alerts[], params_activations[], params_events[];
extern const struct param params_endpoints[], params_endpoint[], params_endpoint_make[], params_endpoint_patch[],
    params_endpoint_patch_old[], params_endpoint_delete[], params_reference[], params_values[];
extern const struct param params_artifact_put[], params_artifact[], params_artifact_delete[], params_artifacts[],
    params_function_put[], params_function[], params_functions[], params_tag[], params_deploy_state[],
    params_serving_spec[], params_iter[], params_runs[], params_versioned[], params_features[], params_tasks[];
extern const struct param params_letters[], params_letter[], params_tokens[], params_audit[];
extern const struct param params_page_project[], params_page_endpoint[], params_page_login[];

extern const struct param_body body_verification, body_project_new, body_project, body_alert, body_event, body_profile,
    body_secrets, body_endpoint, body_endpoint_old, body_app, body_reference, body_object, body_deploy, body_update,
    body_search, body_query, body_skip, body_retry, body_drop, body_token, body_login;
