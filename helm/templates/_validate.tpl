{{/* What the schema cannot say. Each message says what to do. */}}
{{- define "bridge.validate" -}}
{{- $v := .Values }}
{{- if not $v.image.repository }}
{{- fail "image.repository: say where you pushed the image, e.g. swr.ap-southeast-1.myhuaweicloud.com/acme/cph-webhook-bridge" }}
{{- end }}
{{- include "bridge.validate.redis" . }}
{{- include "bridge.validate.secrets" . }}
{{- include "bridge.validate.projects" . }}
{{- include "bridge.validate.settings" . }}
{{- range $name, $grant := $v.grants }}
{{- if and (not $grant.networks) (not $grant.tls) }}
{{- fail (printf "grants.%s grants nothing: give networks, or tls" $name) }}
{{- end }}
{{- end }}
{{- range $role := list "poller" "sender" }}
{{- if and (eq (index $v $role).autoscaling.kind "keda") (not $v.keda.prometheus) }}
{{- fail (printf "%s.autoscaling.kind is keda: give keda.prometheus, the URL of the Prometheus that knows cph_bridge_due" $role) }}
{{- end }}
{{- end }}
{{- range $role := list "api" "poller" "sender" }}
{{- $scaling := (index $v $role).autoscaling }}
{{- if and $scaling.kind (gt (int $scaling.min) (int $scaling.max)) }}
{{- fail (printf "%s.autoscaling: min is above max" $role) }}
{{- end }}
{{- $asked := (index $v $role).terminationGracePeriodSeconds }}
{{- $needed := include "bridge.grace" (list $ $role) | int }}
{{- if and $asked (lt (int $asked) $needed) }}
{{- fail (printf "%s.terminationGracePeriodSeconds: what is in hand may take %d s; leave it out, or give more" $role $needed) }}
{{- end }}
{{- end }}
{{- $ports := list (int $v.api.port) (int $v.api.probePort) }}
{{- if $v.metrics.enabled }}{{ $ports = append $ports (int $v.metrics.port) }}{{ end }}
{{- if ne (len (uniq $ports)) (len $ports) }}
{{- fail "api.port, api.probePort and metrics.port: one pod listens on all of them, so give each a port of its own" }}
{{- end }}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.parentRefs) }}
{{- fail "httpRoute.enabled: give httpRoute.parentRefs, the gateways that lead to it" }}
{{- end }}
{{- if and $v.ingress.enabled (not $v.ingress.hosts) }}
{{- fail "ingress.enabled: give ingress.hosts" }}
{{- end }}
{{- if and $v.externalSecrets.enabled (not (and $v.externalSecrets.store.name $v.externalSecrets.secrets)) }}
{{- fail "externalSecrets.enabled: give externalSecrets.store.name and externalSecrets.secrets" }}
{{- end }}
{{- end }}

{{- define "bridge.validate.redis" -}}
{{- $r := .Values.redis }}
{{- $given := list }}
{{- range $way, $is := dict "redis.url" $r.url "redis.urlSecret.name" $r.urlSecret.name "redis.host" $r.host "redis.sentinel.nodes" $r.sentinel.nodes "redis.bundled.enabled" $r.bundled.enabled }}
{{- if $is }}{{ $given = append $given $way }}{{ end }}
{{- end }}
{{- if not $given }}
{{- fail "no Redis: give redis.urlSecret.name (a Secret that holds its URL), redis.url, redis.host or redis.sentinel.nodes; for a trial, redis.bundled.enabled=true" }}
{{- end }}
{{- if gt (len $given) 1 }}
{{- fail (printf "which Redis? These are all given: %s. Keep one." (join ", " $given)) }}
{{- end }}
{{- if and $r.url (regexMatch "://[^/]*@" $r.url) }}
{{- fail "redis.url holds a password or a user, and everybody may read it: put the URL into a Secret, and give redis.urlSecret.name" }}
{{- end }}
{{- if and $r.sentinel.passwordSecret.name (not $r.sentinel.nodes) }}
{{- fail "redis.sentinel.passwordSecret goes with redis.sentinel.nodes" }}
{{- end }}
{{- if and (or $r.username $r.passwordSecret.name) (not (or $r.host $r.sentinel.nodes)) }}
{{- fail "redis.username and redis.passwordSecret go with redis.host or redis.sentinel.nodes; a URL with a password goes into redis.urlSecret" }}
{{- end }}
{{- if and $r.username (not $r.passwordSecret.name) }}
{{- fail "redis.username needs redis.passwordSecret.name" }}
{{- end }}
{{- if and $r.tls.enabled (not (or $r.host $r.sentinel.nodes)) }}
{{- fail "redis.tls.enabled goes with redis.host or redis.sentinel.nodes: a URL says it itself, rediss://…, and the bundled Redis has no TLS" }}
{{- end }}
{{- if and $r.tls.caSecret.name $r.bundled.enabled }}
{{- fail "redis.tls.caSecret: the bundled Redis has no TLS; leave it out" }}
{{- end }}
{{- if and $r.tls.caSecret.name (or $r.host $r.sentinel.nodes) (not $r.tls.enabled) }}
{{- fail "redis.tls.caSecret is of use with redis.tls.enabled=true alone: without it Redis is talked to in the open" }}
{{- end }}
{{- if and $r.tls.caSecret.name $r.url (not (regexMatch "^rediss://.*[?&]ssl_ca_certs=/run/bridge/redis-ca/ca[.]crt(&|$)" $r.url)) }}
{{- fail "redis.tls.caSecret: redis.url must ask for TLS and name it: rediss://…?ssl_ca_certs=/run/bridge/redis-ca/ca.crt" }}
{{- end }}
{{- end }}

{{/* As app/config/settings.py does, which would end pods that have started. */}}
{{- define "bridge.validate.settings" -}}
{{- $s := .Values.settings }}
{{- if le (float64 $s.lease_s) (float64 $s.attempt_deadline_s) }}
{{- fail "settings.lease_s must exceed settings.attempt_deadline_s, or what is in hand would be taken over" }}
{{- end }}
{{- if and $s.poll_max_s (lt (float64 $s.poll_max_s) (float64 $s.poll_min_s)) }}
{{- fail "settings.poll_max_s must not be below settings.poll_min_s" }}
{{- end }}
{{- if ne (empty $s.oidc_issuer) (empty $s.oidc_audience) }}
{{- fail "settings.oidc_issuer and settings.oidc_audience need each other" }}
{{- end }}
{{- if and $s.cloudevents_handshake (not $s.cloudevents_origin) }}
{{- fail "settings.cloudevents_handshake needs settings.cloudevents_origin, the host name that receivers see asking" }}
{{- end }}
{{- end }}

{{- define "bridge.validate.secrets" -}}
{{- $s := .Values.secrets }}
{{- if and $s.secretKeys.name $s.secretKeys.lieOpen }}
{{- fail "secrets.secretKeys: name and lieOpen contradict each other" }}
{{- end }}
{{- if not (or $s.secretKeys.name $s.secretKeys.lieOpen .Values.redis.bundled.enabled) }}
{{- fail "secrets.secretKeys.name: make a Secret, kubectl create secret generic cph-bridge --from-literal=secret-keys=k1:$(openssl rand -base64 32), and give its name; or let secrets lie open in Redis with secrets.secretKeys.lieOpen=true" }}
{{- end }}
{{- if ne (empty $s.operatorUrl.name) (empty $s.operatorSecret.name) }}
{{- fail "secrets.operatorUrl and secrets.operatorSecret need each other" }}
{{- end }}
{{- end }}

{{- define "bridge.validate.projects" -}}
{{- if not .Values.projects }}
{{- fail "projects: name at least one CPH project; values.yaml shows how" }}
{{- end }}
{{- range $name, $p := .Values.projects }}
{{- if eq (empty $p.region) (empty $p.endpoint) }}
{{- fail (printf "projects.%s: give one of region and endpoint" $name) }}
{{- end }}
{{- $c := $p.credentials }}
{{- $kinds := list }}
{{- if $c.tokenSecret }}{{ $kinds = append $kinds "tokenSecret" }}{{ end }}
{{- if or $c.user $c.domain $c.passwordSecret }}{{ $kinds = append $kinds "user" }}{{ end }}
{{- if or $c.accessKey $c.accessKeySecret $c.secretKeySecret $c.securityTokenSecret }}{{ $kinds = append $kinds "accessKey" }}{{ end }}
{{- if $c.agency }}{{ $kinds = append $kinds "agency" }}{{ end }}
{{- if $c.podIdentity }}{{ $kinds = append $kinds "podIdentity" }}{{ end }}
{{- if ne (len $kinds) 1 }}
{{- fail (printf "projects.%s.credentials: give one of tokenSecret; user, domain and passwordSecret; accessKey and secretKeySecret; agency; podIdentity (there are: %s)" $name (join ", " $kinds | default "none")) }}
{{- end }}
{{- if and (has "user" $kinds) (not (and $c.user $c.domain $c.passwordSecret)) }}
{{- fail (printf "projects.%s.credentials: user, domain and passwordSecret go together" $name) }}
{{- end }}
{{- if and (has "user" $kinds) (not (or $p.region $p.iamEndpoint)) }}
{{- fail (printf "projects.%s: without a region, a user needs iamEndpoint" $name) }}
{{- end }}
{{- if and (has "accessKey" $kinds) (or (not $c.secretKeySecret) (eq (empty $c.accessKey) (empty $c.accessKeySecret))) }}
{{- fail (printf "projects.%s.credentials: give secretKeySecret, and one of accessKey and accessKeySecret" $name) }}
{{- end }}
{{- end }}
{{- end }}
