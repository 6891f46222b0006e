{{/* The pods of the three roles, which differ in their secrets and files. */}}

{{- define "bridge.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "bridge.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* The secrets of a role, as a JSON list of {variable, name, key, file}. Arguments: (list $ role). */}}
{{- define "bridge.roleSecrets" -}}
{{- $root := index . 0 }}
{{- $role := index . 1 }}
{{- $v := $root.Values }}
{{- $secrets := list }}
{{- $generated := printf "%s-made" (include "bridge.fullname" $root) }}
{{- if $v.redis.bundled.enabled }}
{{- $secrets = append $secrets (dict "variable" "REDIS_URL" "name" $generated "key" "redis-url" "file" "redis-url") }}
{{- else if $v.redis.urlSecret.name }}
{{- $secrets = append $secrets (dict "variable" "REDIS_URL" "name" $v.redis.urlSecret.name "key" $v.redis.urlSecret.key "file" "redis-url") }}
{{- end }}
{{- with $v.redis.sentinel }}
{{- if and .nodes .passwordSecret.name }}
{{- $secrets = append $secrets (dict "variable" "REDIS_SENTINEL_PASSWORD" "name" .passwordSecret.name "key" .passwordSecret.key "file" "redis-sentinel-password") }}
{{- end }}
{{- end }}
{{- $rolesOf := dict "secretKeys" (list "api" "poller" "sender") "bootstrapKey" (list "api") "signingKeys" (list "api" "sender") "operatorUrl" (list "api" "sender") "operatorSecret" (list "api" "sender") }}
{{- range $secret, $roles := $rolesOf }}
{{- $secretRef := index $v.secrets $secret }}
{{- if and (has $role $roles) $secretRef.name }}
{{- $secrets = append $secrets (dict "variable" (snakecase $secret | upper) "name" $secretRef.name "key" $secretRef.key "file" (kebabcase $secret)) }}
{{- else if and (eq $secret "secretKeys") $v.redis.bundled.enabled (not $secretRef.allowUnencrypted) }}
{{- $secrets = append $secrets (dict "variable" "SECRET_KEYS" "name" $generated "key" "secret-keys" "file" "secret-keys") }}
{{- end }}
{{- end }}
{{- toJson $secrets }}
{{- end }}

{{/* Arguments: (list $ role). */}}
{{- define "bridge.env" -}}
{{- $root := index . 0 }}
{{- $role := index . 1 }}
{{- $v := $root.Values }}
{{- if eq $role "api" }}
- name: BRIDGE_API_BIND
  value: {{ printf "%s:%d" $v.api.bindAddress (int $v.api.port) | quote }}
- name: BRIDGE_PROBE_BIND
  value: {{ printf "%s:%d" $v.api.bindAddress (int $v.api.probePort) | quote }}
{{- else }}
- name: BRIDGE_ALIVE_FILE
  value: /tmp/alive
{{- end }}
{{- if $v.metrics.enabled }}
- name: BRIDGE_METRICS_BIND
  value: {{ printf "%s:%d" $v.api.bindAddress (int $v.metrics.port) | quote }}
{{- end }}
{{- if not (or $v.redis.bundled.enabled $v.redis.urlSecret.name) }}
{{- if $v.redis.passwordSecret.name }}
- name: BRIDGE_REDIS_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ $v.redis.passwordSecret.name }}
      key: {{ $v.redis.passwordSecret.key }}
{{- end }}
- name: BRIDGE_REDIS_URL
  value: {{ include "bridge.redisUrl" $root | quote }}
{{- end }}
{{- with $v.redis.sentinel.nodes }}
- name: BRIDGE_REDIS_SENTINELS
  value: {{ join "," . | quote }}
- name: BRIDGE_REDIS_SENTINEL_SERVICE
  value: {{ $v.redis.sentinel.service | quote }}
{{- with $v.redis.sentinel.username }}
- name: BRIDGE_REDIS_SENTINEL_USER
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- range include "bridge.roleSecrets" . | fromJsonArray }}
- name: BRIDGE_{{ .variable }}_FILE
  value: /run/bridge/secrets/{{ .file }}
{{- end }}
{{- if ne $role "sender" }}
- name: BRIDGE_PROJECTS_FILE
  value: /run/bridge/projects/projects.yaml
{{- end }}
{{- if and (eq $role "api") $v.tenants }}
- name: BRIDGE_TENANTS_FILE
  value: /run/bridge/tenants/tenants.yaml
{{- end }}
{{- if ne $role "poller" }}
{{- if $v.grants }}
- name: BRIDGE_GRANTS_FILE
  value: /run/bridge/grants/grants.yaml
{{- end }}
{{- if $v.templates }}
- name: BRIDGE_TEMPLATES_DIR
  value: /run/bridge/templates
{{- end }}
{{- end }}
{{- with concat $v.extraEnv (index $v $role).extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Name → volume, as JSON; each is mounted at /run/bridge/<name>. Arguments: (list $ role). */}}
{{- define "bridge.volumes" -}}
{{- $root := index . 0 }}
{{- $role := index . 1 }}
{{- $v := $root.Values }}
{{- $full := include "bridge.fullname" $root }}
{{- $volumes := dict }}
{{- $sources := list }}
{{- range include "bridge.roleSecrets" . | fromJsonArray }}
{{- $sources = append $sources (dict "secret" (dict "name" .name "items" (list (dict "key" .key "path" .file)))) }}
{{- end }}
{{- if $sources }}{{ $_ := set $volumes "secrets" (dict "projected" (dict "sources" $sources)) }}{{ end }}
{{- if $v.redis.tls.caSecret.name }}
{{- $_ := set $volumes "redis-ca" (dict "secret" (dict "secretName" $v.redis.tls.caSecret.name "items" (list (dict "key" $v.redis.tls.caSecret.key "path" "ca.crt")))) }}
{{- end }}
{{- if ne $role "sender" }}
{{- $_ := set $volumes "projects" (dict "configMap" (dict "name" (printf "%s-projects" $full))) }}
{{- end }}
{{- if and (eq $role "api") $v.tenants }}
{{- $_ := set $volumes "tenants" (dict "configMap" (dict "name" (printf "%s-tenants" $full))) }}
{{- end }}
{{- if eq $role "poller" }}
{{- $sources := list }}
{{- range $name, $p := $v.projects }}
{{- range $field := include "bridge.secretFields" $p.credentials | fromJsonArray }}
{{- $secretRef := index $p.credentials (printf "%sSecret" $field) }}
{{- $sources = append $sources (dict "secret" (dict "name" $secretRef.name "items" (list (dict "key" $secretRef.key "path" (printf "%s/%s" $name $field))))) }}
{{- end }}
{{- range $field := list "proxy" "ca" }}
{{- with index $p (printf "%sSecret" $field) }}
{{- $sources = append $sources (dict "secret" (dict "name" .name "items" (list (dict "key" .key "path" (printf "%s/%s" $name $field))))) }}
{{- end }}
{{- end }}
{{- end }}
{{- if $sources }}{{ $_ := set $volumes "cph" (dict "projected" (dict "sources" $sources)) }}{{ end }}
{{- else }}
{{- if $v.grants }}{{ $_ := set $volumes "grants" (dict "configMap" (dict "name" (printf "%s-grants" $full))) }}{{ end }}
{{- if $v.templates }}{{ $_ := set $volumes "templates" (dict "configMap" (dict "name" (printf "%s-templates" $full))) }}{{ end }}
{{- $sources := list }}
{{- range $name, $g := $v.grants }}
{{- range $field := list "ca" "certificate" "key" }}
{{- with index ($g.tls | default dict) (printf "%sSecret" $field) }}
{{- $sources = append $sources (dict "secret" (dict "name" .name "items" (list (dict "key" .key "path" (printf "%s/%s" (sha256sum $name | trunc 8) $field))))) }}
{{- end }}
{{- end }}
{{- end }}
{{- if $sources }}{{ $_ := set $volumes "grants-tls" (dict "projected" (dict "sources" $sources)) }}{{ end }}
{{- end }}
{{- toJson $volumes }}
{{- end }}

{{/* A worker's liveness is a file that it touches, so a long outage of Redis does not restart pods. Startup probes begin when
     processes usually are up: each failed probe is a warning among the pod's events. */}}
{{- define "bridge.probes" -}}
{{- if eq . "api" -}}
startupProbe:
  httpGet: {path: /healthz, port: probes}
  initialDelaySeconds: 10
  periodSeconds: 2
  failureThreshold: 30
livenessProbe:
  httpGet: {path: /healthz, port: probes}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: probes}
  periodSeconds: 5
  timeoutSeconds: 5
{{- else -}}
startupProbe:
  exec:
    command: [find, /tmp/alive]
  initialDelaySeconds: 15
  periodSeconds: 2
  failureThreshold: 30
livenessProbe:
  exec:
    # Works without a shell: if the file is older than a minute, `find` says so, for the event, and runs `false`, so that
    # the probe fails.
    command: [find, /tmp/alive, -mmin, "+1", -printf, "the worker has not touched %p since %Tc %TZ\\n", -exec, "false", "{}", +]
  periodSeconds: 20
  timeoutSeconds: 10
  failureThreshold: 3
{{- end }}
{{- end }}

{{/* Arguments: (list $ role argv…). */}}
{{- define "bridge.deployment" -}}
{{- $root := index . 0 }}
{{- $role := index . 1 }}
{{- $v := $root.Values }}
{{- $roleValues := index $v $role }}
{{- $args := list $root $role }}
{{- $volumes := include "bridge.volumes" $args | fromJson }}
{{- include "bridge.validate" $root -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "bridge.fullname" $root }}-{{ $role }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "bridge.labels" $args | nindent 4 }}
spec:
  {{- if not $roleValues.autoscaling.kind }}
  replicas: {{ $roleValues.replicas }}
  {{- end }}
  {{- if ne $role "api" }}
  # Workers have no readiness probe: new ones that die soon must not have replaced good ones by then.
  minReadySeconds: 15
  {{- end }}
  revisionHistoryLimit: 5
  strategy:
    type: RollingUpdate
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
  selector:
    matchLabels:
      {{- include "bridge.selector" $args | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "bridge.selector" $args | nindent 8 }}
        {{- with $v.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        # Checksums only of what pods read at startup, and of nothing that a new chart version changes. Running pods reload
        # projects, their secrets and grants.
        checksum/settings: {{ include "bridge.settings" $root | sha256sum }}
        {{- if and $v.templates (ne $role "poller") }}
        checksum/templates: {{ toJson $v.templates | sha256sum }}
        {{- end }}
        {{- with merge (dict) $roleValues.podAnnotations $v.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "bridge.fullname" $root }}-{{ $role }}
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ $roleValues.terminationGracePeriodSeconds | default (include "bridge.grace" $args) }}
      securityContext:
        {{- include "bridge.podSecurity" 10001 | nindent 8 }}
      {{- with $v.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $v.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- with $roleValues.dnsConfig }}
      dnsConfig:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $v.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $v.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $v.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      topologySpreadConstraints:
        {{- if $v.topologySpreadConstraints }}
        {{- toYaml $v.topologySpreadConstraints | nindent 8 }}
        {{- else }}
        {{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
        - topologyKey: {{ $key }}
          maxSkew: 1
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "bridge.selector" $args | nindent 14 }}
          matchLabelKeys: [pod-template-hash]
        {{- end }}
        {{- end }}
      containers:
        - name: {{ $role }}
          image: {{ include "bridge.image" (merge (dict "tag" ($v.image.tag | default $root.Chart.AppVersion)) $v.image) }}
          imagePullPolicy: {{ $v.image.pullPolicy }}
          command: {{ toJson (slice . 2) }}
          securityContext:
            {{- include "bridge.containerSecurity" $root | nindent 12 }}
          envFrom:
            - configMapRef:
                name: {{ include "bridge.fullname" $root }}-settings
            {{- with concat $v.extraEnvFrom $roleValues.extraEnvFrom }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          env:
            {{- include "bridge.env" $args | trim | nindent 12 }}
          {{- if or (eq $role "api") $v.metrics.enabled }}
          ports:
            {{- if eq $role "api" }}
            - {name: http, containerPort: {{ $roleValues.port }}}
            - {name: probes, containerPort: {{ $roleValues.probePort }}}
            {{- end }}
            {{- if $v.metrics.enabled }}
            - {name: metrics, containerPort: {{ $v.metrics.port }}}
            {{- end }}
          {{- end }}
          {{- include "bridge.probes" $role | nindent 10 }}
          {{- if and (eq $role "api") $roleValues.preStopSeconds }}
          lifecycle:
            preStop:
              exec:
                command: [sleep, {{ $roleValues.preStopSeconds | quote }}]
          {{- end }}
          resources:
            {{- toYaml $roleValues.resources | nindent 12 }}
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
            {{- range $name, $_ := $volumes }}
            - {name: {{ $name }}, mountPath: /run/bridge/{{ $name }}, readOnly: true}
            {{- end }}
            {{- with $v.extraVolumeMounts }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
      volumes:
        - name: tmp
          emptyDir: {medium: Memory, sizeLimit: 32Mi}
        {{- range $name, $volume := $volumes }}
        - name: {{ $name }}
          {{- toYaml $volume | nindent 10 }}
        {{- end }}
        {{- with $v.extraVolumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
{{- end }}
