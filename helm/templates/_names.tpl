{{/* Names and labels. Selectors hold name, instance and component: nothing that an upgrade changes. */}}

{{- define "bridge.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* At most 43 characters: the longest suffix is `-redis-` with a hash of ten, and a label holds 63. What is cut gets a
     hash, so that two long names that begin alike stay two. */}}
{{- define "bridge.fullname" -}}
{{- $name := include "bridge.name" . }}
{{- $full := .Values.fullnameOverride | default (contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name)) }}
{{- if gt (len $full) 43 }}
{{- $full = printf "%s-%s" ($full | trunc 34 | trimSuffix "-") ($full | sha256sum | trunc 8) }}
{{- end }}
{{- $full }}
{{- end }}

{{/* Of (list $ component). */}}
{{- define "bridge.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "bridge.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* Of (list $ component). */}}
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

{{/* How Prometheus tells this release's pods from another's in the namespace: of (list $ component…). Behind its component a
     pod's name has two hashes, or what Kubernetes leaves of them where it is long. */}}
{{- define "bridge.series" -}}
{{- $root := index . 0 -}}
{{- $pods := printf "%s-(%s)-[a-z0-9]+(-[a-z0-9]+)?" (include "bridge.fullname" $root) (slice . 1 | join "|") -}}
{{ printf "namespace=%q,pod=~%q" $root.Release.Namespace $pods }}
{{- end }}

{{/* Of a map with repository, tag, digest, and what the tag is when left out. */}}
{{- define "bridge.image" -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag }}
{{- end }}
{{- end }}

{{/* Full name of one of the services, which needs no search list: of (list $ component). */}}
{{- define "bridge.host" -}}
{{- $root := index . 0 -}}
{{ include "bridge.fullname" $root }}-{{ index . 1 }}.{{ $root.Release.Namespace }}.svc.{{ $root.Values.clusterDomain }}
{{- end }}

{{/* Where callbacks never go, by whatever name, as a JSON list; Redis' URL names another such place. What has a `*` names
     no host. */}}
{{- define "bridge.ownPlaces" -}}
{{- $places := list (printf "%s:%d" (include "bridge.host" (list . "api")) (int .Values.api.service.port)) }}
{{- range concat (.Values.ingress.enabled | ternary .Values.ingress.hosts list) (.Values.httpRoute.enabled | ternary .Values.httpRoute.hostnames list) }}
{{- if not (or (empty .) (contains "*" .)) }}{{ $places = append $places . }}{{ end }}
{{- end }}
{{- toJson $places }}
{{- end }}
