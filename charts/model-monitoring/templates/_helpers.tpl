{{- define "mm.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "mm.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "mm.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "mm.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "mm.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: model-monitoring
{{ include "mm.selector" . }}
{{- end -}}

{{- define "mm.selector" -}}
app.kubernetes.io/name: {{ include "mm.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* (dict "root" $ "name" row "row" values) */}}
{{- define "mm.image" -}}
{{- $own := .row.image | default dict -}}
{{- $repository := $own.repository | default (printf "%s/%s" .root.Values.image.registry .name) -}}
{{- if $own.digest -}}
{{- printf "%s@%s" $repository $own.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository ($own.tag | default .root.Values.image.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "mm.secret" -}}
{{- .Values.existingSecret | default (printf "%s-servers" (include "mm.fullname" .)) -}}
{{- end -}}

{{- define "mm.lakeClaim" -}}
{{- .Values.lake.existingClaim | default (printf "%s-lake" (include "mm.fullname" .)) -}}
{{- end -}}

{{/* The in-cluster database's password: what was made at the first install, kept. */}}
{{- define "mm.password" -}}
{{- $name := printf "%s-servers" (include "mm.fullname" .) -}}
{{- $old := lookup "v1" "Secret" .Release.Namespace $name -}}
{{- if and $old (hasKey ($old.data | default dict) "postgres-password") -}}
{{- index $old.data "postgres-password" | b64dec -}}
{{- else -}}
{{- randAlphaNum 32 -}}
{{- end -}}
{{- end -}}

{{/* The key of projects' secrets, likewise. */}}
{{- define "mm.secretsKey" -}}
{{- $name := printf "%s-servers" (include "mm.fullname" .) -}}
{{- $old := lookup "v1" "Secret" .Release.Namespace $name -}}
{{- if and $old (hasKey ($old.data | default dict) "secrets-key") -}}
{{- index $old.data "secrets-key" | b64dec -}}
{{- else -}}
{{- randBytes 64 | sha256sum -}}
{{- end -}}
{{- end -}}

{{/* The first access token, likewise. */}}
{{- define "mm.accessToken" -}}
{{- $name := printf "%s-servers" (include "mm.fullname" .) -}}
{{- $old := lookup "v1" "Secret" .Release.Namespace $name -}}
{{- if and $old (hasKey ($old.data | default dict) "access-token") -}}
{{- index $old.data "access-token" | b64dec -}}
{{- else -}}
{{- randAlphaNum 48 -}}
{{- end -}}
{{- end -}}

{{- define "mm.kafkaBrokers" -}}
{{- .Values.kafkaBrokers | default (printf "%s-kafka:9092" (include "mm.fullname" .)) -}}
{{- end -}}

{{- define "mm.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* (dict "id" 10001) */}}
{{- define "mm.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .id }}
runAsGroup: {{ .id }}
fsGroup: {{ .id }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* What a row's process gets as environment, but secrets: shared options by what it needs, then its own. */}}
{{- define "mm.env" -}}
{{- $v := .root.Values -}}
{{- $env := dict "SYSTEM_ID" $v.systemId "LOG_LEVEL" $v.logLevel "HTTP_ADDR" "0.0.0.0" "HTTP_PORT" "8080" "ACCESS" $v.access -}}
{{- if has "kafka" .row.needs -}}
{{- $env = merge (dict "KAFKA_BROKERS" (include "mm.kafkaBrokers" .root) "TOPIC_PARTITIONS" $v.topicPartitions "TOPIC_REPLICATION" $v.topicReplication) $env -}}
{{- end -}}
{{- if ne (.row.lake | default "none") "none" -}}
{{- $env = merge (dict "LAKE_DIR" "/var/lib/modelmon/lake") $env -}}
{{- end -}}
{{- with .row.eventsTo -}}
{{- $env = merge (dict "STREAM_URL" (printf "http://%s-%s:8080" (include "mm.fullname" $.root) .) "KAFKA_BROKERS" (include "mm.kafkaBrokers" $.root)) $env -}}
{{- end -}}
{{- with .row.reads -}}
{{- $env = merge (dict "MLRUN_DBPATH" (printf "http://%s-%s:8080" (include "mm.fullname" $.root) .)) $env -}}
{{- end -}}
{{- $env = merge (deepCopy (.row.env | default dict)) $env -}}
{{- range $key, $value := $env }}
{{ $key }}: {{ $value | toString | quote }}
{{- end -}}
{{- end -}}

{{/* Which keys of the secret a row sees, and as which variable. */}}
{{- define "mm.secretFiles" -}}
{{- $v := .root.Values -}}
{{- $there := list -}}
{{- if $v.existingSecret -}}
{{- $there = $v.existingSecretKeys -}}
{{- else -}}
{{- $there = list "database-url" "secrets-key" "access-token" -}}
{{- if or $v.redisUrl $v.redis.enabled -}}{{- $there = append $there "redis-url" -}}{{- end -}}
{{- if $v.kafkaOptions -}}{{- $there = append $there "kafka-options" -}}{{- end -}}
{{- end -}}
{{- $files := dict -}}
{{- if has "database" .row.needs -}}{{- $_ := set $files "database-url" "DATABASE_URL_FILE" -}}{{- end -}}
{{- if has "redis" .row.needs -}}{{- $_ := set $files "redis-url" "REDIS_URL_FILE" -}}{{- end -}}
{{- if has "kafka" .row.needs -}}{{- $_ := set $files "kafka-options" "KAFKA_OPTIONS_FILE" -}}{{- end -}}
{{- if has "secrets" .row.needs -}}{{- $_ := set $files "secrets-key" "SECRETS_KEY_FILE" -}}{{- end -}}
{{- if eq $v.access "tokens" -}}{{- $_ := set $files "access-token" (ternary "API_TOKEN_FILE" "ACCESS_ADMIN_TOKEN_FILE" (hasKey .row "reads")) -}}{{- end -}}
{{- range $key := keys $files -}}
{{- if not (has $key $there) -}}{{- $_ := unset $files $key -}}{{- end -}}
{{- end -}}
{{- toJson $files -}}
{{- end -}}
