# One image a service: docker build --target stream --build-arg VERSION="$(scripts/version)" -t modelmon/stream:dev .
# Without --target: modelmon, every service in one process, which needs no server.
# Each holds its program, the libraries that it loads, and nothing else; uid 10001; its root may be read-only. A new
# service is one more block before the last.
ARG DEBIAN=debian:trixie-slim

FROM ${DEBIAN} AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
        gcc libc6-dev make ca-certificates curl python3 python3-venv \
        libmicrohttpd-dev libgnutls28-dev libcurl4-openssl-dev libcjson-dev libhiredis-dev librdkafka-dev libpq-dev libsqlite3-dev libssl-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY scripts/duckdb scripts/
RUN scripts/duckdb /opt/duckdb && install -D -m 755 /opt/duckdb/lib/libduckdb.so /usr/lib/modelmon/libduckdb.so
COPY Makefile VERSION ./
COPY scripts/embed scripts/image-root scripts/version scripts/
COPY common common
COPY services services
ARG JOBS=2
ARG VERSION=
RUN make -j"$JOBS" all VERSION="$VERSION" DUCKDB=/opt/duckdb RPATH=/usr/lib/modelmon \
    && for p in build/bin/*; do scripts/image-root "$p" "/image/${p##*/}" || exit 1; done

FROM scratch AS runtime
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title=modelmon org.opencontainers.image.version=${VERSION} \
    org.opencontainers.image.revision=${REVISION}
ENV HTTP_ADDR=0.0.0.0 HTTP_PORT=8080
EXPOSE 8080
STOPSIGNAL SIGTERM
USER 10001:10001

FROM runtime AS stream
COPY --from=build /image/stream/ /
VOLUME /var/lib/modelmon/lake
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 CMD ["/usr/bin/stream", "--check-ready"]
ENTRYPOINT ["/usr/bin/stream"]

FROM runtime AS controller
COPY --from=build /image/controller/ /
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 CMD ["/usr/bin/controller", "--check-ready"]
ENTRYPOINT ["/usr/bin/controller"]

FROM runtime AS writer
COPY --from=build /image/writer/ /
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 CMD ["/usr/bin/writer", "--check-ready"]
ENTRYPOINT ["/usr/bin/writer"]

FROM runtime AS histogram-drift-app
COPY --from=build /image/histogram-drift-app/ /
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 CMD ["/usr/bin/histogram-drift-app", "--check-ready"]
ENTRYPOINT ["/usr/bin/histogram-drift-app"]

FROM runtime AS operations-app
COPY --from=build /image/operations-app/ /
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 CMD ["/usr/bin/operations-app", "--check-ready"]
ENTRYPOINT ["/usr/bin/operations-app"]

FROM runtime AS llm-app
COPY --from=build /image/llm-app/ /
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 CMD ["/usr/bin/llm-app", "--check-ready"]
ENTRYPOINT ["/usr/bin/llm-app"]

# An application of MLRun beside ours (scripts/run-mlrun-app): its class is in MLRUN_APP_CLASS, its files are mounted or copied to /app.
FROM mlrun/mlrun:1.12.1 AS mlrun-app
COPY scripts/run-mlrun-app /usr/local/bin/
ENV HTTP_ADDR=0.0.0.0 HTTP_PORT=8080 HOME=/tmp PYTHONPATH=/app PYTHONUNBUFFERED=1
EXPOSE 8080
USER 10001:10001
ENTRYPOINT ["run-mlrun-app"]

# By itself it listens on the container's loopback; HTTP_ADDR opens it, and ACCESS says for whom.
FROM runtime AS api
ENV HTTP_ADDR=127.0.0.1
COPY --from=build /image/api/ /
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 CMD ["/usr/bin/api", "--check-ready"]
ENTRYPOINT ["/usr/bin/api"]

# As above.
FROM runtime AS modelmon
ENV HTTP_ADDR=127.0.0.1 DATA_DIR=/var/lib/modelmon
COPY --from=build /image/modelmon/ /
VOLUME /var/lib/modelmon
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 CMD ["/usr/bin/modelmon", "run", "--check-ready"]
ENTRYPOINT ["/usr/bin/modelmon"]
CMD ["run"]
