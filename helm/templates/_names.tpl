{{/* Names and labels. Selectors use name, instance and component, which no upgrade changes. */}}

{{- define "bridge.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* At most 43 characters: the longest suffix is `-redis-` with a hash of ten characters, and a label may have 63. A longer
     name is cut and gets a hash, so that two long names with the same beginning stay different. */}}
{{- define "bridge.fullname" -}}
{{- $name := include "bridge.name" . }}
{{- $full := .Values.fullnameOverride | default (contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name)) }}
{{- if gt (len $full) 43 }}
{{- $full = printf "%s-%s" ($full | trunc 34 | trimSuffix "-") ($full | sha256sum | trunc 8) }}
{{- end }}
{{- $full }}
{{- end }}

{{/* Arguments: (list $ component). */}}
{{- define "bridge.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "bridge.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* Arguments: (list $ component). */}}
{{- define "bridge.labels" -}}
{{- $root := index . 0 -}}
{{ include "bridge.selector" . }}
app.kubernetes.io/part-of: {{ $root.Chart.Name }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Prometheus matchers that select this release's pods, not those of another release in the namespace. Arguments:
     (list $ component…). A pod's name ends with two hashes, which Kubernetes shortens if the name is long. */}}
{{- define "bridge.series" -}}
{{- $root := index . 0 -}}
{{- $pods := printf "%s-(%s)-[a-z0-9]+(-[a-z0-9]+)?" (include "bridge.fullname" $root) (slice . 1 | join "|") -}}
{{ printf "namespace=%q,pod=~%q" $root.Release.Namespace $pods }}
{{- end }}

{{/* Image reference; a digest wins over the tag. Argument: a map with repository, tag and digest. */}}
{{- define "bridge.image" -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag }}
{{- end }}
{{- end }}

{{/* Full DNS name of a service; it resolves without a search list. Arguments: (list $ component). */}}
{{- define "bridge.host" -}}
{{- $root := index . 0 -}}
{{ include "bridge.fullname" $root }}-{{ index . 1 }}.{{ $root.Release.Namespace }}.svc.{{ $root.Values.clusterDomain }}
{{- end }}

{{/* The bridge's own host names, denied to callbacks, as a JSON list. Wildcard names are left out: they name no host. The
     bridge itself denies Redis' address. */}}
{{- define "bridge.ownHosts" -}}
{{- $hosts := list (printf "%s:%d" (include "bridge.host" (list . "api")) (int .Values.api.service.port)) }}
{{- range concat (.Values.ingress.enabled | ternary .Values.ingress.hosts list) (.Values.httpRoute.enabled | ternary .Values.httpRoute.hostnames list) }}
{{- if not (or (empty .) (contains "*" .)) }}{{ $hosts = append $hosts . }}{{ end }}
{{- end }}
{{- toJson $hosts }}
{{- end }}
