"""PyPI's mlrun 1.12.1 client against the api, on both databases: what it sends is accepted, what it gets it can read."""
import datetime
import os
import time
import urllib.parse
import uuid

import pytest

os.environ.setdefault("MLRUN_LOG_LEVEL", "ERROR")

import mlrun  # noqa: E402
import mlrun.common.schemas as schemas  # noqa: E402
from api_server import DAY, SECOND, Api, Rows  # noqa: E402
from mlrun.common.schemas.model_monitoring import model_endpoints as forms  # noqa: E402
from mlrun.db.httpdb import HTTPRunDB  # noqa: E402

MINUTE = 60 * SECOND


@pytest.fixture(scope="module", params=["postgres", "sqlite"])
def api(request):
    with Api(backend=request.param) as server:
        yield server


@pytest.fixture(scope="module")
def db(api):
    assert mlrun.__version__ == "1.12.1"
    client = mlrun.db.get_run_db(f"http://127.0.0.1:{api.port}")
    client.connect()
    return client


@pytest.fixture
def project(api):
    return api.project(base_period="1m")


def endpoint(project, name="my-model", **spec):
    status = {"monitoring_mode": "enabled"}
    kind = spec.pop("endpoint_type", 1)
    return schemas.ModelEndpoint(
        metadata=schemas.ModelEndpointMetadata(name=name, project=project, endpoint_type=kind,
                                               labels=spec.pop("labels", {})),
        spec=schemas.ModelEndpointSpec(**dict({"function_name": "serving", "function_tag": "latest"}, **spec)),
        status=schemas.ModelEndpointStatus(**status))


def test_connecting_takes_the_systems_names(db, api):
    assert mlrun.mlconf.system_id == "test" and mlrun.mlconf.ce.mode == "full"
    assert mlrun.mlconf.artifact_path.endswith("/lake/{{project}}")
    topic = mlrun.common.model_monitoring.helpers.get_kafka_topic(project="my-proj", function_name=None)
    assert topic == "monitoring_stream_test_my-proj_v1"


def test_a_project_is_read_as_a_project(db, project):
    got = db.get_project(project)
    assert isinstance(got, mlrun.projects.MlrunProject) and got.metadata.name == project
    with pytest.raises(mlrun.errors.MLRunNotFoundError, match="there is no project"):
        db.get_project("nobody")


def test_create_get_list(db, project):
    made = db.create_model_endpoint(endpoint(project, feature_names=["a", "b"], label_names=["y"], model_class="M",
                                             labels={"team": "x"}))
    assert isinstance(made, schemas.ModelEndpoint) and uuid.UUID(made.metadata.uid)
    assert made.metadata.mode == schemas.model_monitoring.EndpointMode.REAL_TIME
    assert made.metadata.created.utcoffset() == datetime.timedelta(0)
    got = db.get_model_endpoint(name="my-model", project=project, endpoint_id=made.metadata.uid, tsdb_metrics=False)
    assert got == made and got.spec.feature_names == ["a", "b"] and got.spec.label_names == ["y"]
    by_function = db.get_model_endpoint(name="my-model", project=project, function_name="serving", function_tag="latest",
                                        tsdb_metrics=False, feature_analysis=True)
    assert by_function == made
    batch = db.create_model_endpoint(endpoint(project, "batch", endpoint_type=4))
    assert batch.metadata.mode == schemas.model_monitoring.EndpointMode.BATCH_LEGACY
    everything = db.list_model_endpoints(project)
    assert isinstance(everything, schemas.ModelEndpointList)
    assert sorted(e.metadata.name for e in everything.endpoints) == ["batch", "my-model"]

    def found(**filters):
        return [e.metadata.name for e in db.list_model_endpoints(project, **filters).endpoints]
    assert found(names="batch") == ["batch"] and found(names=["my-model"]) == ["my-model"]
    assert found(labels=["team=x"]) == ["my-model"] and found(labels={"team": "y"}) == []
    assert found(modes=schemas.model_monitoring.EndpointMode.REAL_TIME) == ["my-model"]
    assert found(uids=[batch.metadata.uid], top_level=True, latest_only=True, tsdb_metrics=True) == ["batch"]
    assert found(function_name="none") == []
    long_ago = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    assert found(start=long_ago, names="batch") == ["batch"] and found(end=long_ago) == []


@pytest.mark.parametrize("strategy, same", [("inplace", True), ("overwrite", False), ("archive", False)])
def test_strategies(db, project, strategy, same):
    first = db.create_model_endpoint(endpoint(project))
    second = db.create_model_endpoint(endpoint(project, model_class="B"), creation_strategy=strategy)
    assert (first.metadata.uid == second.metadata.uid) is same and second.spec.model_class == "B"
    assert len(db.list_model_endpoints(project).endpoints) == (2 if strategy == "archive" else 1)


def test_patch(db, project):
    made = db.create_model_endpoint(endpoint(project))
    when = datetime.datetime(2025, 1, 1, 12, tzinfo=datetime.timezone.utc)
    db.patch_model_endpoint(name="my-model", project=project, endpoint_id=made.metadata.uid,
                            attributes={"feature_names": ["x"], "first_request": when, "labels": {"a": "b"},
                                        "sampling_percentage": 25.0})
    got = db.get_model_endpoint(name="my-model", project=project, endpoint_id=made.metadata.uid)
    assert got.spec.feature_names == ["x"] and got.status.first_request == when and got.metadata.labels == {"a": "b"}
    assert got.status.sampling_percentage == 25 and got.status.monitoring_mode == "enabled"
    with pytest.raises(mlrun.errors.MLRunNotFoundError):
        db.patch_model_endpoint(name="my-model", project=project, endpoint_id="f" * 32, attributes={"labels": {}})


def test_delete(db, project):
    made = db.create_model_endpoint(endpoint(project))
    db.delete_model_endpoint(name="my-model", project=project, endpoint_id=made.metadata.uid)
    with pytest.raises(mlrun.errors.MLRunNotFoundError, match="there is no model endpoint"):
        db.get_model_endpoint(name="my-model", project=project, endpoint_id=made.metadata.uid)
    for strategy in ("inplace", "archive"):
        db.create_model_endpoint(endpoint(project), creation_strategy=strategy)
    db.delete_model_endpoint(name="my-model", project=project, function_name="serving", function_tag="latest")
    assert db.list_model_endpoints(project).endpoints == []


def test_statistics_of_a_training_set_are_served_as_mlrun_pads_them(db, api, project):
    import pandas as pd
    from mlrun.common.model_monitoring.helpers import pad_features_hist
    from mlrun.data_types.infer import InferOptions, get_df_stats
    frame = pd.DataFrame({"a": [0.5 * i for i in range(90)], "b": [i % 7 for i in range(90)], "y": [i % 2 for i in range(90)]})
    stats = get_df_stats(frame, InferOptions.Histogram)
    made = db.create_model_endpoint(endpoint(project, feature_names=["a", "b"], label_names=["y"], feature_stats=stats))
    got = db.get_model_endpoint(name="my-model", project=project, endpoint_id=made.metadata.uid, feature_analysis=True)
    pad_features_hist(stats)
    for name in frame:
        assert got.spec.feature_stats[name]["hist"] == stats[name]["hist"]
        assert got.spec.feature_stats[name]["mean"] == pytest.approx(stats[name]["mean"])
    features = forms.Features.new("a", got.spec.feature_stats["a"], None)
    assert features.expected.histogram.counts[1:-1] == stats["a"]["hist"][0][1:-1]


def test_operative_fields_and_analysis(db, api, project):
    made = db.create_model_endpoint(endpoint(project))
    rows = Rows(api, project, made.metadata.uid)
    now = int(time.time()) * SECOND // MINUTE * MINUTE
    rows.slot(now - 2 * MINUTE, requests=4, rows=4, errors=3, latency_us=1500)
    rows.result(now, 0.75, 2)
    rows.seen(now - DAY, now - SECOND)
    rows.statistic(now, "current_stats", {"a": {"count": 3}})
    rows.statistic(now, "drift_measures", {"a": {"tvd": 0.1}})
    got = db.get_model_endpoint(name="my-model", project=project, endpoint_id=made.metadata.uid, feature_analysis=True)
    assert got.status.error_count == 3 and got.status.avg_latency == 1500 and got.status.result_status == 2
    assert got.status.last_request == datetime.datetime.fromtimestamp(now / SECOND - 1, datetime.timezone.utc)
    assert got.status.current_stats == {"a": {"count": 3}} and got.status.drift_measures == {"a": {"tvd": 0.1}}
    assert got.status.drift_measures_timestamp == datetime.datetime.fromtimestamp(now / SECOND, datetime.timezone.utc)
    listed = db.list_model_endpoints(project, tsdb_metrics=True).endpoints[0]
    assert listed.status.error_count == 3 and listed.status.result_status == 2


def test_metrics(db, api, project):
    made = db.create_model_endpoint(endpoint(project))
    rows = Rows(api, project, made.metadata.uid)
    end = int(time.time()) * SECOND // MINUTE * MINUTE
    rows.result(end, 0.75, 2, extra='{"samples":9}')
    rows.value(end, 0.7, "tvd_mean")
    rows.slot(end - MINUTE, rows=7)
    metrics = db.get_model_endpoint_monitoring_metrics(project=project, endpoint_id=made.metadata.uid, type="all")
    assert [(m.app, m.type.value, m.name) for m in metrics] == [
        ("histogram-data-drift", "result", "general_drift"), ("histogram-data-drift", "metric", "tvd_mean"),
        ("mlrun-infra", "metric", "invocations")]
    assert metrics[0].kind == schemas.model_monitoring.ResultKindApp.data_drift
    assert [m.name for m in db.get_model_endpoint_monitoring_metrics(project, made.metadata.uid, type="results")] == \
        ["general_drift"]
    answer = db.api_call("GET", f"projects/{project}/model-endpoints/{made.metadata.uid}/metrics-values",
                         params={"name": [m.full_name for m in metrics]}).json()
    read = [form.parse_obj(values) for form, values in zip(
        (forms.ModelEndpointMonitoringResultValues, forms.ModelEndpointMonitoringMetricValues,
         forms.ModelEndpointMonitoringMetricValues), answer)]
    assert read[0].values[0].value == 0.75 and read[0].values[0].status == 2 and read[0].values[0].extra_data == '{"samples":9}'
    assert read[0].values[0].timestamp == datetime.datetime.fromtimestamp(end / SECOND, datetime.timezone.utc)
    assert read[1].values[0].value == 0.7 and sum(v.value for v in read[2].values) == 7


def test_the_servers_words_reach_the_user(db, project):
    with pytest.raises(mlrun.errors.MLRunBadRequestError, match="sampling_percentage: must be above 0"):
        wrong = endpoint(project)
        wrong.status.sampling_percentage = 0
        db.create_model_endpoint(wrong)
    with pytest.raises(mlrun.errors.MLRunConflictError):
        taken = endpoint(project, "a")
        taken.metadata.uid = "u1"
        db.create_model_endpoint(taken)
        taken.metadata.name = "b"
        db.create_model_endpoint(taken, creation_strategy="archive")


def test_a_project_object_lists_its_endpoints(db, api, project):
    db.create_model_endpoint(endpoint(project))
    mlrun.mlconf.dbpath = f"http://127.0.0.1:{api.port}"
    held = mlrun.get_or_create_project(project, context=api.folder.name, save=False, allow_cross_project=True)
    assert [e.metadata.name for e in held.list_model_endpoints().endpoints] == ["my-model"]


@pytest.mark.parametrize("first, second, output", [("a", "b", "y"), ("height (cm)", "c d", "kind")])
def test_drift_through_all_services(first, second, output):
    """Registered with MLRun's client, requests by HTTP, the result by MLRun's client: nothing is put into a table by hand.

    Twice, with other columns, in two databases with the same endpoint ids behind one Redis: they do not get in each other's way.
    """
    import contextlib

    import mm
    import numpy as np
    from serving import FAST, event

    rng = np.random.default_rng(11)
    with mm.World() as w, contextlib.ExitStack() as running:
        w.redis_url = mm.need("REDIS_URL")  # not the one that is emptied for each world
        server = running.enter_context(w.service("api"))
        server.wait_ready()
        stream, *_ = [running.enter_context(w.service(name, **options)) for name, options in (
            ("stream", dict(FAST, SINKS="statistics")), ("controller", {"LATENESS": "200ms", "TICK_INTERVAL": "100ms"}),
            ("histogram-drift-app", {}), ("writer", {}))]
        client = HTTPRunDB(f"http://127.0.0.1:{server.port}")
        client.api_call("PUT", "projects/whole", json={"spec": {"monitoring": {"base_period": "1s"}}})
        made = client.create_model_endpoint(endpoint("whole", feature_names=[first, second], label_names=[output]))
        uid = made.metadata.uid
        train = rng.normal(size=(2000, 3))
        client.api_call("PUT", f"projects/whole/model-endpoints/{uid}/reference",
                        json={"columns": [first, second, output], "data": train.tolist(), "labels": [output]})
        stream.wait_ready()

        def send(shift):
            rows = rng.normal(size=(300, 3))
            rows[:, :2] += shift
            sent = stream.post("/whole", event(uid, rows[:, :2].tolist(), rows[:, 2].tolist(), mm.now_us(), project="whole",
                                               model="my-model"))
            assert sent.status_code in (200, 202), sent.text

        def newest(status):
            answer = client.api_call("GET", f"projects/whole/model-endpoints/{uid}/metrics-values", params={
                "name": "whole.histogram-data-drift.result.general_drift"}).json()[0]
            return answer["data"] and [v for v in answer["values"] if v[2] == status]
        send(0)
        calm = mm.wait_for(lambda: newest(0), 60, "a result without drift")
        assert calm[0][1] < 0.3
        send(6)
        found = mm.wait_for(lambda: newest(2), 60, "a result with drift")
        assert found[0][1] > 0.7
        got = client.get_model_endpoint(name="my-model", project="whole", endpoint_id=uid, feature_analysis=True)
        assert got.status.result_status == 2 and got.status.avg_latency == 1500 and got.status.error_count == 0
        assert set(got.status.drift_measures) >= {first, second, output, "tvd_mean"}
        assert got.status.drift_measures[first]["tvd"] > 0.9
        assert set(got.status.current_stats) == set(got.spec.feature_stats) == {first, second, output}
        assert got.spec.feature_names == [first, second] and got.status.first_request and got.status.last_request
        names = {m.name for m in client.get_model_endpoint_monitoring_metrics("whole", uid, type="all")}
        assert names == {"general_drift", "prediction_drift", "hellinger_mean", "kld_mean", "tvd_mean", "invocations"}
        page = server.get(f"/ui/p/whole/endpoints/{uid}").text
        assert 'class="badge detected"' in page and "dot detected" in page and "dot ok" in page and "0.7" in page


def test_profiles_secrets_and_credentials_as_the_tutorial_sets_them():
    from mlrun.datastore import datastore_profile as profiles
    with Api(SECRETS_KEY="12" * 32) as api:
        server = urllib.parse.urlparse(os.environ["MM_TEST_PG"])
        mlrun.mlconf.dbpath = f"http://127.0.0.1:{api.port}"
        project = mlrun.get_or_create_project(api.project(), context=api.folder.name, allow_cross_project=True, save=False)
        kafka = profiles.DatastoreProfileKafkaStream(name="Kafka-P", brokers=[os.environ["MM_TEST_KAFKA"]], topics=[],
                                                     kwargs_public={"new_topic": {"num_partitions": 2}})
        tsdb = profiles.DatastoreProfilePostgreSQL(name="pg-p", host=server.hostname, port=server.port, user=server.username,
                                                   password="it's \"hidden\"", database="postgres")
        other = profiles.DatastoreProfileS3(name="s3-p", bucket="b", access_key_id="id", secret_key="hidden")
        for profile in (kafka, tsdb, other):
            project.register_datastore_profile(profile)
        client = mlrun.get_run_db()
        assert client.get_datastore_profile("kafka-p", project.name) == kafka
        assert client.get_datastore_profile("pg-p", project.name) == tsdb.copy(update={"password": None})
        assert client.list_datastore_profiles(project.name) == [kafka, tsdb.copy(update={"password": None}),
                                                                other.copy(update={"access_key_id": None, "secret_key": None})]
        for _ in range(2):
            project.set_model_monitoring_credentials(tsdb_profile_name=tsdb.name, stream_profile_name=kafka.name)
        project.register_datastore_profile(kafka.copy(update={"name": "k2"}))
        with pytest.raises(mlrun.errors.MLRunConflictError, match="replace_creds"):
            project.set_model_monitoring_credentials(tsdb_profile_name=tsdb.name, stream_profile_name="k2")
        project.set_model_monitoring_credentials(tsdb_profile_name=tsdb.name, stream_profile_name="k2", replace_creds=True)
        with pytest.raises(mlrun.errors.MLRunBadRequestError, match="postgresql"):
            project.set_model_monitoring_credentials(tsdb_profile_name=other.name, stream_profile_name="k2", replace_creds=True)
        with pytest.raises(mlrun.errors.MLRunNotFoundError, match="register it first"):
            project.set_model_monitoring_credentials(tsdb_profile_name="never", stream_profile_name="k2", replace_creds=True)
        project.enable_model_monitoring(base_period=10)
        project.set_secrets({"SLACK_WEBHOOK": "hook", "V3IO_API": "dropped"})
        mine = [n for n in client.list_project_secret_keys(project.name).secret_keys if not n.startswith("datastore-profiles.")]
        assert mine == ["SLACK_WEBHOOK"]
        with pytest.raises(mlrun.errors.MLRunAccessDeniedError):
            client.list_project_secrets(project.name)
        client.delete_project_secrets(project.name, secrets=["SLACK_WEBHOOK"])
        client.delete_datastore_profile("s3-p", project.name)
        with pytest.raises(mlrun.errors.MLRunNotFoundError):
            client.get_datastore_profile("s3-p", project.name)
        with pytest.raises(mlrun.errors.MLRunConflictError):
            client.delete_datastore_profile("k2", project.name)
        assert "hidden" not in open(api.log).read()
