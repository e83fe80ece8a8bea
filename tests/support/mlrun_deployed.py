"""A server of a deployed function: MLRun's own serving entry, as Nuclio's wrapper calls it, started from SERVING_SPEC_ENV alone.

    SERVING_SPEC_ENV=… MLRUN_DBPATH=… mlrun_deployed.py MODEL < requests > responses
First it prints {"ready": true}; then as mlrun_serving.py: a request is a line, so is its response, and the last line is {"flushed": N}."""
import json
import os
import sys
import types

os.environ["MLRUN_LOG_LEVEL"] = "ERROR"
import mlrun  # noqa: E402
from mlrun.serving import V2ModelServer  # noqa: E402
from mlrun.serving.server import MockEvent, v2_serving_handler, v2_serving_init  # noqa: E402
from mlrun_serving import producers  # noqa: E402


class Regression(V2ModelServer):
    def load(self):
        self.model, _ = self.get_model()  # the artifact, by its store:// URI

    def predict(self, body):
        return [sum(row) / len(row) for row in body["inputs"]]


class Response:
    def __init__(self, headers=None, body=None, content_type=None, status_code=200):
        self.body, self.status_code = body, status_code


def main(model):
    out = os.dup(1)  # MLRun prints to stdout
    os.dup2(2, 1)
    log = mlrun.utils.logger
    context = types.SimpleNamespace(logger=log, worker_id=0, Response=Response, trigger=types.SimpleNamespace(kind="http"),
                                    platform=types.SimpleNamespace(set_termination_callback=lambda f: None,
                                                                   set_drain_callback=lambda f: None))
    v2_serving_init(context, {"Regression": Regression})
    with os.fdopen(out, "w", buffering=1) as answers:
        answers.write('{"ready": true}\n')
        for line in sys.stdin:
            answer = v2_serving_handler(context, MockEvent(body=json.loads(line), path=f"/v2/models/{model}/infer", method="POST"))
            answers.write(json.dumps(getattr(answer, "body", answer), default=str) + "\n")
        found = producers(context._server)
        for producer in found:
            producer.flush(30)
        answers.write(json.dumps({"flushed": len(found)}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
