"""MLRun's own model server, router and mock server, sending to a Kafka topic for real; no MLRun server is needed.

    mlrun_serving.py BROKERS TOPIC PROJECT UID < requests > responses
First it prints {"ready": true}. A request is a line, the body of POST /v2/models/my-model/infer; its response is a line of JSON. The last
line is {"flushed": N}: so many Kafka producers were found in the server and have nothing unacknowledged left."""
import json
import os
import sys

os.environ.update(MLRUN_DBPATH="nop", MLRUN_LOG_LEVEL="ERROR")
import mlrun  # noqa: E402
from mlrun.serving import V2ModelServer  # noqa: E402


class Regression(V2ModelServer):
    def load(self):
        self.model = None

    def predict(self, body):
        if body["inputs"] == ["boom"]:
            raise ValueError("bad input")
        rows = body["inputs"] if isinstance(body["inputs"][0], list) else [body["inputs"]]
        return [sum(r) / len(r) for r in rows]


def producers(server):
    """Every kafka-python producer that hangs somewhere in the served graph."""
    found, seen, todo = [], set(), [server]
    while todo:
        at = todo.pop()
        if id(at) in seen:
            continue
        seen.add(id(at))
        if type(at).__name__ == "KafkaProducer":
            found.append(at)
            continue
        inner = list(getattr(at, "__dict__", {}).values()) if type(at).__module__.startswith(("mlrun", "__main__")) else []
        inner += list(at.values()) if isinstance(at, dict) else list(at) if isinstance(at, (list, tuple)) else []
        todo += inner
    return found


def main(brokers, topic, project, uid):
    out = os.dup(1)  # MLRun prints to stdout
    os.dup2(2, 1)
    fn = mlrun.code_to_function("serving", project=project, filename=__file__, kind="serving", image="mlrun/mlrun", tag="latest")
    fn.set_topology("router")
    fn.add_model("my-model", model_path="/tmp", class_name="Regression", model_endpoint_uid=uid)
    fn.set_tracking(f"kafka://{brokers}?topic={topic}")
    server = fn.to_mock_server(namespace={"Regression": Regression}, track_models=True)
    with os.fdopen(out, "w", buffering=1) as answers:
        answers.write('{"ready": true}\n')
        for line in sys.stdin:
            try:
                answer = server.test("/v2/models/my-model/infer", body=json.loads(line))
            except Exception as e:
                answer = {"error": str(e)}
            answers.write(json.dumps(answer, default=str) + "\n")
        found = producers(server)
        for producer in found:
            producer.flush(30)
        answers.write(json.dumps({"flushed": len(found)}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
