{{/* Turns values into settings and files that the bridge reads. */}}

{{/* A setting as the text of an environment variable. Helm reads numbers as floats, and would write 1209600 as 1.2096e+06. */}}
{{- define "bridge.setting" -}}
{{- if kindIs "slice" . -}}
{{- $parts := list }}
{{- range . }}{{ $parts = append $parts (include "bridge.setting" .) }}{{ end }}
{{- join "," $parts }}
{{- else if kindIs "string" . -}}
{{ . }}
{{- else -}}
{{ toJson . }}
{{- end }}
{{- end }}

{{- define "bridge.settings" -}}
{{- range $name, $value := .Values.settings }}
{{- if not (or (kindIs "invalid" $value) (eq $name "deny_hosts")) }}
{{- with include "bridge.setting" $value }}
BRIDGE_{{ upper $name }}: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}
BRIDGE_DENY_HOSTS: {{ concat (.Values.settings.deny_hosts | default list) (include "bridge.ownHosts" . | fromJsonArray) | uniq | join "," | quote }}
{{- end }}

{{- define "bridge.projects" -}}
projects:
{{- range $name, $p := .Values.projects }}
  {{ $name | quote }}:
    project_id: {{ $p.projectId | quote }}
    {{- with $p.region }}
    region: {{ . | quote }}
    {{- end }}
    {{- with $p.endpoint }}
    endpoint: {{ . | quote }}
    {{- end }}
    {{- with $p.iamEndpoint }}
    iam_endpoint: {{ . | quote }}
    {{- end }}
    {{- with $p.proxy }}
    proxy: {{ . | quote }}
    {{- end }}
    {{- if $p.proxySecret }}
    proxy_file: /run/bridge/cph/{{ $name }}/proxy
    {{- end }}
    {{- if $p.caSecret }}
    ca_file: /run/bridge/cph/{{ $name }}/ca
    {{- end }}
    {{- with $p.rate }}
    rate: {{ toJson . }}
    {{- end }}
    credentials:
      {{- with $p.credentials }}
      {{- with .user }}
      user: {{ . | quote }}
      {{- end }}
      {{- with .domain }}
      domain: {{ . | quote }}
      {{- end }}
      {{- with .accessKey }}
      access_key: {{ . | quote }}
      {{- end }}
      {{- if .agency }}
      agency: true
      {{- end }}
      {{- if .podIdentity }}
      pod_identity: true
      {{- end }}
      {{- range $field := include "bridge.secretFields" . | fromJsonArray }}
      {{ snakecase $field }}_file: /run/bridge/cph/{{ $name }}/{{ $field }}
      {{- end }}
      {{- end }}
{{- end }}
{{- end }}

{{/* Credential fields that come from a Secret, as a JSON list. Argument: one project's credentials. */}}
{{- define "bridge.secretFields" -}}
{{- $fields := list }}
{{- range $field := list "token" "password" "accessKey" "secretKey" "securityToken" }}
{{- if index $ (printf "%sSecret" $field) }}{{ $fields = append $fields $field }}{{ end }}
{{- end }}
{{- toJson $fields }}
{{- end }}

{{- define "bridge.grants" -}}
grants:
{{- range $name, $g := .Values.grants }}
  {{ $name | quote }}:
    tenants: {{ toJson $g.tenants }}
    hosts: {{ toJson $g.hosts }}
    networks: {{ toJson $g.networks }}
    ports: {{ toJson $g.ports }}
    schemes: {{ toJson $g.schemes }}
    {{- with $g.tls }}
    tls:
      {{- range $field, $file := dict "ca" "ca_file" "certificate" "certificate_file" "key" "key_file" }}
      {{- if index $g.tls (printf "%sSecret" $field) }}
      {{ $file }}: /run/bridge/grants-tls/{{ sha256sum $name | trunc 8 }}/{{ $field }}
      {{- end }}
      {{- end }}
    {{- end }}
{{- end }}
{{- end }}

{{/* Longest time that work in progress may need after SIGTERM, in seconds, with a margin. Arguments: (list $ role). */}}
{{- define "bridge.grace" -}}
{{- $root := index . 0 }}
{{- $settings := $root.Values.settings }}
{{- if eq (index . 1) "api" -}}
{{/* gunicorn's graceful timeout is an attempt's deadline plus 5 s: app/api/server.py */}}
{{- add (ceil $settings.attempt_deadline_s) 5 $root.Values.api.preStopSeconds 5 }}
{{- else -}}
{{/* A lease outlasts any call and any attempt. Recording the result comes after it, and Redis may be slow. */}}
{{- add (ceil $settings.lease_s) 15 }}
{{- end }}
{{- end }}

{{- define "bridge.redisUrl" -}}
{{- $r := .Values.redis }}
{{- if $r.url -}}
{{ $r.url }}
{{- else -}}
{{- $login := "" }}
{{- if $r.passwordSecret.name }}{{ $login = printf "%s:$(BRIDGE_REDIS_PASSWORD)@" $r.username }}{{ end }}
{{- $host := $r.host | default "sentinel" }}
{{- $ca := ternary "?ssl_ca_certs=/run/bridge/redis-ca/ca.crt" "" (and $r.tls.enabled (ne $r.tls.caSecret.name "")) }}
{{- printf "%s://%s%s:%d/%d%s" ($r.tls.enabled | ternary "rediss" "redis") $login $host (int $r.port) (int $r.database) $ca }}
{{- end }}
{{- end }}
