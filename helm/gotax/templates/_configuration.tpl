{{- /* The agent's file (docs/configuration.md), of the values. JSON of a string, a number, a boolean or an
array of them is TOML. What differs between nodes is not here: it comes as flags, of the environment. */ -}}
{{- define "gotax.configuration" -}}
[sampling]
hz = {{ toJson .Values.agent.frequency }}
interval_s = {{ toJson .Values.agent.window }}

[log]
level = {{ toJson .Values.agent.logLevel }}

[metrics]
listen = {{ toJson (include "gotax.listen" (list .Values.agent.listenAddress .Values.agent.port)) }}
max_series = {{ toJson .Values.agent.maxSeries }}
{{- with .Values.agent.dropLabels }}
drop_label = {{ toJson . }}
{{- end }}
{{- if and .Values.podNames (or .Values.kubelet.enabled .Values.events.enabled) }}

[kubernetes]
{{- if .Values.kubelet.enabled }}
kubelet_insecure = {{ toJson .Values.kubelet.insecure }}
{{- end }}
{{- if .Values.events.enabled }}
events = true
{{- end }}
{{- end }}
{{- $address := include "gotax.collectorAddress" . }}
{{- $config := .Values.agent.config | default dict }}
{{- if or $address $config.stream }}

[stream]
{{- end }}
{{- if $address }}
collector = {{ toJson $address }}
{{- if .Values.collector.tlsSecret }}
ca = "/etc/gotax/tls/ca.crt"
cert = "/etc/gotax/tls/tls.crt"
key = "/etc/gotax/tls/tls.key"
{{- else }}
plaintext = true
{{- end }}
{{- if and (include "gotax.agentTokenSecret" .) (not (dig "stream" "token_file" "" $config)) }}
token_file = "/etc/gotax/collector/token"
{{- end }}
{{- end }}
{{- range $key, $value := $config.stream }}
{{ $key }} = {{ toJson $value }}
{{- end }}
{{- range $section, $settings := $config }}
{{- if ne $section "stream" }}

[{{ $section }}]
{{- range $key, $value := $settings }}
{{ $key }} = {{ toJson $value }}
{{- end }}
{{- end }}
{{- end }}
{{ end -}}
