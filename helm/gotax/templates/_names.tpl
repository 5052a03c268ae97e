{{- define "gotax.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "gotax.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "gotax.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "gotax.selector" -}}
app.kubernetes.io/name: {{ include "gotax.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: agent
{{- end -}}

{{- define "gotax.collectorSelector" -}}
app.kubernetes.io/name: {{ include "gotax.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: collector
{{- end -}}

{{- define "gotax.labels" -}}
{{ include "gotax.selector" . }}
{{ include "gotax.versions" . }}
{{- end -}}

{{- define "gotax.collectorLabels" -}}
{{ include "gotax.collectorSelector" . }}
{{ include "gotax.versions" . }}
{{- end -}}

{{- define "gotax.versions" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "gotax.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "gotax.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "gotax.collectorName" -}}
{{- printf "%s-collector" (include "gotax.fullname" . | trunc 53 | trimSuffix "-") -}}
{{- end -}}

{{- /* The Secret with the tokens of the collector's web page; nothing where none is asked for. */ -}}
{{- define "gotax.collectorTokenSecret" -}}
{{- with .Values.collector.httpToken -}}
{{- if .enabled -}}
{{- .existingSecret | default (printf "%s-http" (include "gotax.collectorName" $)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* HOST:PORT that the agents send to; nothing for nobody. */ -}}
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

{{- /* Of what has no namespace: two releases must not share it. */ -}}
{{- define "gotax.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "gotax.fullname" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "gotax.hasAppArmorField" -}}
{{- semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version -}}
{{- end -}}
