{{- /* Names are DNS labels that begin with a letter, as a Service wants them (RFC 1035), and are cut so
that names of other objects that Kubernetes makes of them still fit. What is cut ends with a hash of
the whole, or two releases could have the same. Releases may have dots, and begin with a digit. */ -}}
{{- define "gotax.cut" -}}
{{- $name := index . 0 -}}
{{- $most := index . 1 -}}
{{- if gt (len $name) $most -}}
{{- printf "%s-%s" ($name | trunc (int (sub $most 9)) | trimAll "-") ($name | sha256sum | trunc 8) -}}
{{- else -}}
{{- $name | trimAll "-" -}}
{{- end -}}
{{- end -}}

{{- define "gotax.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimAll "-" -}}
{{- end -}}

{{- define "gotax.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimAll "-" -}}
{{- else -}}
{{- $name := include "gotax.name" . -}}
{{- $release := .Release.Name | replace "." "-" -}}
{{- $full := contains $name $release | ternary $release (printf "%s-%s" $release $name) -}}
{{- if regexMatch "^[0-9]" $full -}}
{{- $full = printf "r%s" $full -}}
{{- end -}}
{{- include "gotax.cut" (list $full 63) -}}
{{- end -}}
{{- end -}}

{{- define "gotax.selector" -}}
app.kubernetes.io/name: {{ include "gotax.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: agent
{{- end -}}

{{- define "gotax.collectorSelector" -}}
app.kubernetes.io/name: {{ include "gotax.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: collector
{{- end -}}

{{- define "gotax.labels" -}}
{{ include "gotax.selector" . }}
{{ include "gotax.versions" . }}
{{- include "gotax.moreLabels" (list . dict) }}
{{- end -}}

{{- define "gotax.collectorLabels" -}}
{{ include "gotax.collectorSelector" . }}
{{ include "gotax.versions" . }}
{{- include "gotax.moreLabels" (list . dict) }}
{{- end -}}

{{- /* The labels of an object that has some of its own, which override the common ones: a list of the
root and these. A key twice would be an error of YAML. */ -}}
{{- define "gotax.labelsAnd" -}}
{{ include "gotax.selector" (index . 0) }}
{{ include "gotax.versions" (index . 0) }}
{{- include "gotax.moreLabels" . }}
{{- end -}}

{{- define "gotax.collectorLabelsAnd" -}}
{{ include "gotax.collectorSelector" (index . 0) }}
{{ include "gotax.versions" (index . 0) }}
{{- include "gotax.moreLabels" . }}
{{- end -}}

{{- define "gotax.moreLabels" -}}
{{- $common := (index . 0).Values.commonLabels | default dict -}}
{{- $own := index . 1 | default dict -}}
{{- range $name, $value := merge dict $own $common }}
{{ $name | quote }}: {{ $value | quote }}
{{- end }}
{{- end -}}

{{- /* NAME:TAG, NAME@DIGEST or NAME:TAG@DIGEST, of a list of the root, registry, repository, tag and digest. */ -}}
{{- define "gotax.image" -}}
{{- $root := index . 0 -}}
{{- $registry := index . 1 -}}
{{- with $root.Values.global }}{{ $registry = .imageRegistry | default $registry }}{{ end -}}
{{- $tag := index . 3 -}}
{{- $digest := index . 4 -}}
{{- with $registry }}{{ . | trimSuffix "/" }}/{{ end -}}
{{- index . 2 -}}
{{- if or $tag (not $digest) }}:{{ $tag | default $root.Chart.AppVersion }}{{ end -}}
{{- with $digest }}@{{ . }}{{ end -}}
{{- end -}}

{{- define "gotax.agentImage" -}}
{{- with .Values.image -}}
{{- include "gotax.image" (list $ .registry .repository .tag .digest) -}}
{{- end -}}
{{- end -}}

{{- /* The agent's, unless it has a name of its own: then the agent's digest is of another image. */ -}}
{{- define "gotax.collectorImage" -}}
{{- $agent := .Values.image -}}
{{- $own := .Values.collector.image -}}
{{- $registry := $own.registry | default $agent.registry -}}
{{- $repository := $own.repository | default $agent.repository -}}
{{- $tag := $own.tag -}}
{{- $digest := $own.digest -}}
{{- if not $digest -}}
{{- $tag = $tag | default $agent.tag -}}
{{- if not (or $own.repository $own.tag) }}{{ $digest = $agent.digest }}{{ end -}}
{{- end -}}
{{- include "gotax.image" (list . $registry $repository $tag $digest) -}}
{{- end -}}

{{- define "gotax.imagePullSecrets" -}}
{{- $global := list -}}
{{- with .Values.global }}{{ $global = .imagePullSecrets | default list }}{{ end -}}
{{- with concat (.Values.imagePullSecrets | default list) $global | uniq }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "gotax.versions" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | replace "+" "_" | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | quote }}
{{- end -}}

{{- define "gotax.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "gotax.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- /* 52 characters: a StatefulSet's pods have a label of its name and a hash of 11, in the 63 of a label. */ -}}
{{- define "gotax.collectorName" -}}
{{- printf "%s-collector" (include "gotax.cut" (list (include "gotax.fullname" .) 42)) -}}
{{- end -}}

{{- /* The Secret with the tokens of the collector's web page; nothing where none is asked for. */ -}}
{{- define "gotax.collectorTokenSecret" -}}
{{- with .Values.collector.httpToken -}}
{{- if .enabled -}}
{{- .existingSecret | default (printf "%s-http" (include "gotax.collectorName" $)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* The Secret with the token of the agents; nothing where certificates take its place, or where none is
asked for. For a collector of another release it has to be given. */ -}}
{{- define "gotax.agentTokenSecret" -}}
{{- with .Values.collector.agentToken -}}
{{- if and .enabled (include "gotax.collectorAddress" $) -}}
{{- if .existingSecret -}}
{{- .existingSecret -}}
{{- else if not (or $.Values.collector.tlsSecret $.Values.collector.external) -}}
{{- printf "%s-agents" (include "gotax.collectorName" $) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* HOST:PORT that the agents send to; empty if there is no collector. */ -}}
{{- define "gotax.collectorAddress" -}}
{{- if .Values.collector.external -}}
{{- .Values.collector.external -}}
{{- else if .Values.collector.enabled -}}
{{- printf "%s.%s.svc:9746" (include "gotax.collectorName" .) .Release.Namespace -}}
{{- end -}}
{{- end -}}

{{- define "gotax.priorityClass" -}}
{{- if .Values.priorityClassName -}}
{{- .Values.priorityClassName -}}
{{- else if .Values.priorityClass.create -}}
{{- include "gotax.clusterName" . -}}
{{- end -}}
{{- end -}}

{{- /* Of what has no namespace: two releases must not share it, and neither part has a dot. */ -}}
{{- define "gotax.clusterName" -}}
{{- printf "%s.%s" .Release.Namespace (include "gotax.fullname" .) -}}
{{- end -}}

{{- define "gotax.hasAppArmorField" -}}
{{- semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version -}}
{{- end -}}

{{- /* HOST:PORT to listen on, of a list of the two: IPv6 in brackets. */ -}}
{{- define "gotax.listen" -}}
{{- $host := index . 0 -}}
{{- if contains ":" $host -}}
{{- printf "[%s]:%v" $host (index . 1) -}}
{{- else -}}
{{- printf "%s:%v" $host (index . 1) -}}
{{- end -}}
{{- end -}}

{{- /* What both pods have, below what the user says of it: a list of the root, the user's annotations, the
container and the port of its metrics. */ -}}
{{- define "gotax.podAnnotations" -}}
{{- $usual := dict "kubectl.kubernetes.io/default-container" (index . 2) -}}
{{- if (index . 0).Values.scrapeAnnotations -}}
{{- $usual = merge dict $usual (dict "prometheus.io/scrape" "true" "prometheus.io/port" (index . 3 | toString)) -}}
{{- end -}}
{{- range $name, $value := merge dict (index . 1 | default dict) $usual }}
{{ $name | quote }}: {{ $value | quote }}
{{- end }}
{{- end -}}
