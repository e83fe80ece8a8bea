#!/bin/bash
# As the upstream image: KAFKA_A_B_C becomes a.b.c (___ is -, __ is _); the storage is formatted when it is not.
set -eu
p=/tmp/server.properties
: > $p
for k in "${!KAFKA_@}"; do
    case $k in KAFKA_HEAP_OPTS | KAFKA_OPTS | KAFKA_JVM* | KAFKA_LOG4J*) continue ;; esac
    n=$(printf %s "${k#KAFKA_}" | sed 's/___/-/g;s/__/+/g;y/_/./;y/+/_/' | tr '[:upper:]' '[:lower:]')
    echo "$n=${!k}" >> $p
done
java -Xmx128m -cp '/opt/kafka/libs/*' kafka.tools.StorageTool format --ignore-formatted \
    -t "${CLUSTER_ID:-5L6g3nShT-eMCtK--X86sw}" -c $p
# shellcheck disable=SC2086 # options are words
exec java ${KAFKA_HEAP_OPTS:--Xmx1G -Xms1G} -XX:+UseSerialGC ${KAFKA_OPTS:-} -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
    -cp '/opt/kafka/libs/*' kafka.Kafka $p
