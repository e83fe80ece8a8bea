"""An operator finds each option of a service in docker-compose.yml and in the chart, or here why it is in neither."""
import os
import re
import subprocess

import pytest
import yaml

import mm

SERVICES = sorted(s for s in os.listdir(os.path.join(mm.ROOT, "services")) if s != "modelmon")  # that one is run by hand
# A new option goes into both files, if somebody who installs has to decide it; else into a line of these.
NEITHER = {
    "right for every size that was measured; its README's table of symptoms says when to turn it": """
        API_POOL APP_BATCH APP_BATCH_AGE APP_REFERENCES CACHE_TTL CLOSE_BATCH CLOSE_PER_TICK DEDUPE_RECORDS DELETED_AGAIN EMPTY_REACH
        FLUSH_EVENTS FLUSH_INTERVAL FOLD_AFTER FOLD_PER_RUN LAKE_AGE_PER_FILE NAMES_TTL PAIR_MEMORY PAIR_RECORDS PRODUCER_LINGER
        PRODUCER_MAX_INFLIGHT RELAY_INFLIGHT STATISTICS_INTERVAL STATISTICS_MEMORY SWEEP_INTERVAL TICK_INTERVAL""",
    "a bound against hostile or broken peers, generous as it is": """
        APP_TIMEOUT DATABASE_CONNECT_TIMEOUT DATABASE_STATEMENT_TIMEOUT HTTP_BODY_MAX HTTP_CONNECTIONS HTTP_CONNECTIONS_PER_IP
        HTTP_DEADLINE HTTP_IDLE HTTP_KEEPALIVE HTTP_SEND HTTP_THREADS HTTP_WORKERS ACCESS_RATE MAX_APPS MAX_LATENESS EVENT_FUTURE
        EVENT_MAX_AGE PAIR_WAIT""",
    "a judgement of the models, which one service's env takes where its default is not wanted": """
        ARRIVAL_DETECTED ARRIVAL_POTENTIAL ARRIVAL_RATE DRIFT_METRICS EMPTY_DETECTED EMPTY_POTENTIAL ERRORS_DETECTED ERRORS_POTENTIAL
        LATENCY_DETECTED LATENCY_POTENTIAL LLM_REFUSALS MIN_ANSWERS MIN_REQUESTS REFUSED_DETECTED REFUSED_POTENTIAL SURGE_DETECTED
        SURGE_POTENTIAL""",
    "a name that nobody has to change": "APP_NAME ARTIFACT_PATH BUS CLIENT_ID GROUP_PREFIX DEFAULT_PROJECT",
    "a decision about one installation's senders, servers or deployment, made with the README beside it": """
        ACCESS_ADMIN_TOKEN ACCESS_METRICS AUTO_REGISTER CONSUMER_INSTANCE CONSUMER_SESSION DATABASE_MIGRATE HTTP_TLS_CERT HTTP_TLS_KEY
        SINKS SKIP_LOST_OFFSETS TOPIC_RETENTION""",
    "for an installation beside Nuclio, whose README says what to set": "FUNCTION_BROKERS FUNCTION_DBPATH NUCLIO_NAMESPACE NUCLIO_URL",
    "for all services in one process over one folder": "SECRETS_KEY_MADE",
    "for who looks for a fault, or for a program that starts this one": "CORE_DUMPS HTTP_PORT_FILE",
}
ALL_PROJECTS = "an app that is wanted in few projects has it set (llm-app); empty rows of the others would say nothing"
READERS = "the writer of the lake has it set (stream); who reads needs little"
NOT_IN = {  # in one of the two alone, or for one of the services
    "compose": {"HTTP_ADDR": "a container's network is its own", "HTTP_PORT": "likewise", "KAFKA_OPTIONS": "its broker is without passwords",
                "TOPIC_PARTITIONS": "one machine", "TOPIC_REPLICATION": "one broker", "APP_PROJECTS": ALL_PROJECTS, "LAKE_MEMORY": READERS,
                "REDIS_URL": "the controller is given none: what it reads is read once"},
    "chart": {"APP_PROJECTS": ALL_PROJECTS, "LAKE_MEMORY": READERS},
}
REASONS = {name: why for why, names in NEITHER.items() for name in names.split()}


def text_of(*path):
    with open(os.path.join(mm.ROOT, *path)) as f:
        return f.read()


@pytest.fixture(scope="module")
def options():
    """Of each service, the names in its table."""
    printed = {s: subprocess.run([os.path.join(mm.BIN, s), "--help-markdown"], stdout=subprocess.PIPE, check=True, timeout=10, text=True).stdout
               for s in SERVICES}
    return {s: set(re.findall(r"^\| `([A-Z][A-Z0-9_]+)`", table, re.M)) for s, table in printed.items()}


def set_in_compose(service):
    with open(os.path.join(mm.ROOT, "docker-compose.yml")) as f:
        return set(yaml.safe_load(f)["services"][service]["environment"])


def set_in_chart(service):
    row = yaml.safe_load(text_of("charts", "model-monitoring", "values.yaml"))["services"][service]
    folder = os.path.join(mm.ROOT, "charts", "model-monitoring", "templates")
    shared = " ".join(text_of(folder, name) for name in sorted(os.listdir(folder)))
    return set(row.get("env", {})) | set(re.findall(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b|\bACCESS\b", shared))


PLACES = {"compose": set_in_compose, "chart": set_in_chart}


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("service", SERVICES)
def test_each_option_is_set_or_has_a_reason(options, service, where):
    given = {re.sub(r"_FILE$", "", name) if name not in options[service] else name for name in PLACES[where](service)}
    open_ones = sorted(options[service] - given - set(REASONS) - set(NOT_IN[where]))
    assert not open_ones, f"{service}: neither in the {where} nor with a reason in this file"
    assert options[service], "its table is read"


def test_reasons_are_of_options_that_are_there_and_set_nowhere(options):
    every = set().union(*options.values())
    assert not set(REASONS) - every, "no service has these any more"
    named = set().union(*(set_in_compose(s) for s in SERVICES), *(set_in_chart(s) for s in SERVICES))
    assert not set(REASONS) & named, "these are set after all"
    assert sum(len(names.split()) for names in NEITHER.values()) == len(REASONS), "one reason each"
