{{- /* Contradictions between values, which the schema cannot describe. */ -}}
{{- define "gotax.validate" -}}
{{- $collector := .Values.collector -}}
{{- $has := and $collector.enabled (not $collector.external) -}}
{{- range $name, $route := dict "ingress" $collector.ingress "httpRoute" $collector.httpRoute -}}
{{- if and $route.enabled (not $has) -}}
{{- printf "collector.%s.enabled leads to the collector of this release, which has none: set collector.enabled=true, and not collector.external" $name | fail -}}
{{- end -}}
{{- end -}}
{{- if and $collector.ingress.enabled (not $collector.ingress.hosts) -}}
{{- fail "collector.ingress.hosts is empty: set the host names of the page, for example collector.ingress.hosts={gotax.example.com}" -}}
{{- end -}}
{{- if and $collector.httpRoute.enabled (not $collector.httpRoute.parentRefs) -}}
{{- fail "collector.httpRoute.parentRefs is empty: name the Gateway, for example collector.httpRoute.parentRefs[0].name=public" -}}
{{- end -}}
{{- if and $collector.ingress.tls $collector.ingress.enabled -}}
{{- range $entry := $collector.ingress.tls -}}
{{- range $host := $entry.hosts -}}
{{- if not (has $host $collector.ingress.hosts) -}}
{{- printf "collector.ingress.tls has a certificate for %s, which is not in collector.ingress.hosts" $host | fail -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if regexMatch "^[a-z]+://[^/@]*:[^/@]*@" $collector.store.url -}}
{{- fail "collector.store.url has a password, which everyone who may read pods could read: put it into a Secret and name that in collector.store.passwordSecret" -}}
{{- end -}}
{{- if and $collector.store.passwordSecret (not $collector.store.url) -}}
{{- fail "collector.store.passwordSecret is the password of a ClickHouse server: set collector.store.url too, or remove it" -}}
{{- end -}}
{{- if and (gt (int $collector.replicas) 1) (not $collector.store.url) -}}
{{- fail "collector.replicas above 1 needs collector.store.url: each collector with its own engine would have only a part of the data" -}}
{{- end -}}
{{- if and (gt (int $collector.replicas) 1) $collector.persistence.existingClaim -}}
{{- fail "collector.persistence.existingClaim is one volume, and collector.replicas is above 1: leave it empty, and each collector gets its own" -}}
{{- end -}}
{{- end -}}
