#!/usr/bin/env python3
"""A monitoring app in Python, without MLRun: how many rows a window had, and the mean of each numeric feature.

    app.py kafka PROJECT   reads its topic of the project, writes to the writer's: KAFKA_BROKERS, SYSTEM_ID (modelmon)
    app.py http            answers POSTed window events (PORT, 8080), posts its results to WRITER_URL/{project}

Both read the rows from LAKE_DIR. The controller has to know the app once: PUT API/api/v1/projects/PROJECT/apps/python-app
{"needs_rows": true}. The forms are common/event/schemas/window.schema.json and result.schema.json.
Needs kafka-python (kafka) and pyarrow. Delivery is at least once: the same results again change nothing.
"""
import http.server
import json
import os
import sys
import urllib.request

import pyarrow.compute
import pyarrow.dataset

APP = "python-app"
OURS = {"timestamp", "latency", "last_request_timestamp", "effective_sample_count", "estimated_prediction_count", "modelmon_offset",
        "modelmon_row", "endpoint_type"}  # the lake's own numbers, not the model's


def rows(window):
    """The window's rows as a table: its files hold rows of other windows too."""
    own = window["modelmon"]
    files = [os.path.join(os.environ["LAKE_DIR"], f) for f in own.get("files", [])]
    if not files:
        return None
    when = pyarrow.dataset.field("timestamp")
    utc = pyarrow.timestamp("us", tz="UTC")
    start, end = (pyarrow.scalar(own[k], utc) for k in ("window_start_us", "window_end_us"))
    return pyarrow.dataset.dataset(files).to_table(filter=(when >= start) & (when < end))


def track(window):
    """Your app: yields (kind of event, data)."""
    table = rows(window)
    count = table.num_rows if table else 0
    yield "result", {"result_name": "row_count", "result_value": count, "result_kind": 4, "result_status": 0 if count >= 10 else 1,
                     "result_extra_data": json.dumps({"at_least": 10})}
    for name, kind in zip(table.schema.names, table.schema.types) if table else ():
        if pyarrow.types.is_floating(kind) and name not in OURS:
            mean = pyarrow.compute.mean(table[name]).as_py()
            if mean is not None:
                yield "metric", {"metric_name": f"mean_{name}", "metric_value": mean}


def results(window):
    """What goes to the writer: the window's endpoint, times and `modelmon` (but its files) with each answer."""
    same = {k: window[k] for k in ("endpoint_id", "endpoint_name", "start_infer_time", "end_infer_time")}
    own = {k: v for k, v in window["modelmon"].items() if k != "files"}
    for kind, data in track(window):
        yield {**same, "application_name": APP, "event_kind": kind, "data": json.dumps(data), "modelmon": own}


def run_kafka(project):
    from kafka import KafkaConsumer, KafkaProducer
    brokers, prefix = os.environ["KAFKA_BROKERS"], f"monitoring_stream_{os.environ.get('SYSTEM_ID', 'modelmon')}_{project}_"
    consumer = KafkaConsumer(prefix + APP + "_v1", bootstrap_servers=brokers, group_id="modelmon-" + APP, enable_auto_commit=False,
                             auto_offset_reset="earliest")
    producer = KafkaProducer(bootstrap_servers=brokers, acks="all")
    for record in consumer:
        for result in results(json.loads(record.value)):
            producer.send(prefix + "model-monitoring-writer_v1", json.dumps(result).encode(), key=record.key)
        producer.flush()  # written first, then the window is done with
        consumer.commit()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        try:
            window = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            lines = "\n".join(map(json.dumps, results(window)))
            request = urllib.request.Request(f"{os.environ['WRITER_URL']}/{window['modelmon']['project']}", lines.encode(),
                                             {"Content-Type": "application/x-ndjson"})
            with urllib.request.urlopen(request, timeout=30) as answer:
                status = answer.status
        except (ValueError, KeyError, TypeError) as e:
            status, self.error_message_format = 400, "%(message)s"
            self.log_error("%r", e)
        except OSError as e:  # the writer is away: send the window again
            status = 503
            self.log_error("%r", e)
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


def main():
    if sys.argv[1:2] == ["kafka"] and len(sys.argv) == 3:
        run_kafka(sys.argv[2])
    elif sys.argv[1:] == ["http"]:
        http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Handler).serve_forever()
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
