{{/* Checks that the schema cannot express. Each message says what to do. */}}
{{- define "bridge.validate" -}}
{{- $v := .Values }}
{{- if not $v.image.repository }}
{{- fail "image.repository: set the repository that you pushed the image to, e.g. swr.ap-southeast-1.myhuaweicloud.com/acme/cph-webhook-bridge" }}
{{- end }}
{{- include "bridge.validate.redis" . }}
{{- include "bridge.validate.secrets" . }}
{{- include "bridge.validate.projects" . }}
{{- include "bridge.validate.settings" . }}
{{- range $name, $grant := $v.grants }}
{{- if and (not $grant.networks) (not $grant.tls) }}
{{- fail (printf "grants.%s grants nothing: set networks or tls" $name) }}
{{- end }}
{{- end }}
{{- range $role := list "poller" "sender" }}
{{- if and (eq (index $v $role).autoscaling.kind "keda") (not $v.keda.prometheus) }}
{{- fail (printf "%s.autoscaling.kind is keda: set keda.prometheus to the URL of the Prometheus that has cph_bridge_due" $role) }}
{{- end }}
{{- end }}
{{- range $role := list "api" "poller" "sender" }}
{{- $scaling := (index $v $role).autoscaling }}
{{- if and $scaling.kind (gt (int $scaling.min) (int $scaling.max)) }}
{{- fail (printf "%s.autoscaling: min is above max" $role) }}
{{- end }}
{{- $grace := (index $v $role).terminationGracePeriodSeconds }}
{{- $needed := include "bridge.grace" (list $ $role) | int }}
{{- if and $grace (lt (int $grace) $needed) }}
{{- fail (printf "%s.terminationGracePeriodSeconds: work in progress may take %d s; leave it out, or set a higher value" $role $needed) }}
{{- end }}
{{- end }}
{{- $ports := list (int $v.api.port) (int $v.api.probePort) }}
{{- if $v.metrics.enabled }}{{ $ports = append $ports (int $v.metrics.port) }}{{ end }}
{{- if ne (len (uniq $ports)) (len $ports) }}
{{- fail "api.port, api.probePort and metrics.port must differ: one pod listens on all of them" }}
{{- end }}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.parentRefs) }}
{{- fail "httpRoute.enabled: set httpRoute.parentRefs to the gateways that route to the API" }}
{{- end }}
{{- if and $v.ingress.enabled (not $v.ingress.hosts) }}
{{- fail "ingress.enabled: set ingress.hosts" }}
{{- end }}
{{- if and $v.externalSecrets.enabled (not (and $v.externalSecrets.store.name $v.externalSecrets.secrets)) }}
{{- fail "externalSecrets.enabled: set externalSecrets.store.name and externalSecrets.secrets" }}
{{- end }}
{{- end }}

{{- define "bridge.validate.redis" -}}
{{- $r := .Values.redis }}
{{- $used := list }}
{{- range $name, $isSet := dict "redis.url" $r.url "redis.urlSecret.name" $r.urlSecret.name "redis.host" $r.host "redis.sentinel.nodes" $r.sentinel.nodes "redis.bundled.enabled" $r.bundled.enabled }}
{{- if $isSet }}{{ $used = append $used $name }}{{ end }}
{{- end }}
{{- if not $used }}
{{- fail "no Redis: set redis.urlSecret.name (a Secret with its URL), redis.url, redis.host or redis.sentinel.nodes; for a trial, redis.bundled.enabled=true" }}
{{- end }}
{{- if gt (len $used) 1 }}
{{- fail (printf "more than one Redis is set: %s. Keep one." (join ", " $used)) }}
{{- end }}
{{- if and $r.url (regexMatch "://[^/]*@" $r.url) }}
{{- fail "redis.url contains a user or a password, and anyone who can read the pods would see it: put the URL into a Secret, and set redis.urlSecret.name" }}
{{- end }}
{{- if and $r.sentinel.passwordSecret.name (not $r.sentinel.nodes) }}
{{- fail "redis.sentinel.passwordSecret needs redis.sentinel.nodes" }}
{{- end }}
{{- if and (or $r.username $r.passwordSecret.name) (not (or $r.host $r.sentinel.nodes)) }}
{{- fail "redis.username and redis.passwordSecret need redis.host or redis.sentinel.nodes; put a URL with a password into redis.urlSecret" }}
{{- end }}
{{- if and $r.username (not $r.passwordSecret.name) }}
{{- fail "redis.username needs redis.passwordSecret.name" }}
{{- end }}
{{- if and $r.sentinel.username (not $r.sentinel.passwordSecret.name) }}
{{- fail "redis.sentinel.username needs redis.sentinel.passwordSecret.name" }}
{{- end }}
{{- if and $r.tls.enabled (not (or $r.host $r.sentinel.nodes)) }}
{{- fail "redis.tls.enabled needs redis.host or redis.sentinel.nodes: a URL enables TLS by rediss://…, and the bundled Redis has no TLS" }}
{{- end }}
{{- if and $r.tls.caSecret.name $r.bundled.enabled }}
{{- fail "redis.tls.caSecret: the bundled Redis has no TLS; leave it out" }}
{{- end }}
{{- if and $r.tls.caSecret.name (or $r.host $r.sentinel.nodes) (not $r.tls.enabled) }}
{{- fail "redis.tls.caSecret needs redis.tls.enabled=true: without it the connection to Redis is unencrypted" }}
{{- end }}
{{- if and $r.tls.caSecret.name $r.url (not (regexMatch "^rediss://.*[?&]ssl_ca_certs=/run/bridge/redis-ca/ca[.]crt(&|$)" $r.url)) }}
{{- fail "redis.tls.caSecret: redis.url must use TLS and name the CA file: rediss://…?ssl_ca_certs=/run/bridge/redis-ca/ca.crt" }}
{{- end }}
{{- end }}

{{/* The checks of app/config/settings.py, which would otherwise end pods only after they have started. */}}
{{- define "bridge.validate.settings" -}}
{{- $s := .Values.settings }}
{{- if le (float64 $s.lease_s) (float64 $s.attempt_deadline_s) }}
{{- fail "settings.lease_s must exceed settings.attempt_deadline_s, or another worker would take over an attempt in progress" }}
{{- end }}
{{- if and $s.poll_max_s (lt (float64 $s.poll_max_s) (float64 $s.poll_min_s)) }}
{{- fail "settings.poll_max_s must not be below settings.poll_min_s" }}
{{- end }}
{{- if ne (empty $s.oidc_issuer) (empty $s.oidc_audience) }}
{{- fail "settings.oidc_issuer and settings.oidc_audience must be set together" }}
{{- end }}
{{- if and $s.cloudevents_handshake (not $s.cloudevents_origin) }}
{{- fail "settings.cloudevents_handshake needs settings.cloudevents_origin, the host name that the handshake names" }}
{{- end }}
{{- end }}

{{- define "bridge.validate.secrets" -}}
{{- $s := .Values.secrets }}
{{- if and $s.secretKeys.name $s.secretKeys.allowUnencrypted }}
{{- fail "secrets.secretKeys: name and allowUnencrypted contradict each other" }}
{{- end }}
{{- if not (or $s.secretKeys.name $s.secretKeys.allowUnencrypted .Values.redis.bundled.enabled) }}
{{- fail "secrets.secretKeys.name: create a Secret, kubectl create secret generic cph-bridge --from-literal=secret-keys=k1:$(openssl rand -base64 32), and set its name; or store secrets unencrypted in Redis with secrets.secretKeys.allowUnencrypted=true" }}
{{- end }}
{{- if ne (empty $s.operatorUrl.name) (empty $s.operatorSecret.name) }}
{{- fail "secrets.operatorUrl and secrets.operatorSecret must be set together" }}
{{- end }}
{{- end }}

{{- define "bridge.validate.projects" -}}
{{- if not .Values.projects }}
{{- fail "projects: add at least one CPH project; values.yaml has an example" }}
{{- end }}
{{- range $name, $p := .Values.projects }}
{{- if eq (empty $p.region) (empty $p.endpoint) }}
{{- fail (printf "projects.%s: set either region or endpoint" $name) }}
{{- end }}
{{- if and $p.proxy $p.proxySecret }}
{{- fail (printf "projects.%s: set proxy, or proxySecret if it has a password" $name) }}
{{- end }}
{{- $c := $p.credentials }}
{{- $kinds := list }}
{{- if $c.tokenSecret }}{{ $kinds = append $kinds "tokenSecret" }}{{ end }}
{{- if or $c.user $c.domain $c.passwordSecret }}{{ $kinds = append $kinds "user" }}{{ end }}
{{- if or $c.accessKey $c.accessKeySecret $c.secretKeySecret $c.securityTokenSecret }}{{ $kinds = append $kinds "accessKey" }}{{ end }}
{{- if $c.agency }}{{ $kinds = append $kinds "agency" }}{{ end }}
{{- if $c.podIdentity }}{{ $kinds = append $kinds "podIdentity" }}{{ end }}
{{- if ne (len $kinds) 1 }}
{{- fail (printf "projects.%s.credentials: set exactly one of tokenSecret; user, domain and passwordSecret; accessKey and secretKeySecret; agency; podIdentity (set: %s)" $name (join ", " $kinds | default "none")) }}
{{- end }}
{{- if and (has "user" $kinds) (not (and $c.user $c.domain $c.passwordSecret)) }}
{{- fail (printf "projects.%s.credentials: user, domain and passwordSecret must be set together" $name) }}
{{- end }}
{{- if and (has "user" $kinds) (not (or $p.region $p.iamEndpoint)) }}
{{- fail (printf "projects.%s: without region, a user's credentials need iamEndpoint" $name) }}
{{- end }}
{{- if and (has "accessKey" $kinds) (or (not $c.secretKeySecret) (eq (empty $c.accessKey) (empty $c.accessKeySecret))) }}
{{- fail (printf "projects.%s.credentials: set secretKeySecret, and either accessKey or accessKeySecret" $name) }}
{{- end }}
{{- end }}
{{- end }}
