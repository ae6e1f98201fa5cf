{{/* Names and labels. */}}

{{- define "herald.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "herald.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "herald.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "herald.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "herald.controller.name" -}}{{ include "herald.fullname" . }}-controller{{- end -}}
{{- define "herald.speaker.name" -}}{{ include "herald.fullname" . }}-speaker{{- end -}}

{{/* What selects pods, and therefore never changes. */}}
{{- define "herald.selectorLabels" -}}
app.kubernetes.io/name: {{ include "herald.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "herald.controller.selectorLabels" -}}
{{ include "herald.selectorLabels" . }}
app.kubernetes.io/component: controller
{{- end -}}

{{- define "herald.speaker.selectorLabels" -}}
{{ include "herald.selectorLabels" . }}
app.kubernetes.io/component: speaker
{{- end -}}

{{/* Labels of every object. */}}
{{- define "herald.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "herald.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "herald.controller.labels" -}}
{{ include "herald.labels" . }}
app.kubernetes.io/component: controller
{{- end -}}

{{- define "herald.speaker.labels" -}}
{{ include "herald.labels" . }}
app.kubernetes.io/component: speaker
{{- end -}}

{{- define "herald.controller.serviceAccountName" -}}
{{- with .Values.controller.serviceAccount -}}
{{- if .create -}}{{ .name | default (include "herald.controller.name" $) }}{{- else -}}{{ .name | default "default" }}{{- end -}}
{{- end -}}
{{- end -}}

{{- define "herald.speaker.serviceAccountName" -}}
{{- with .Values.speaker.serviceAccount -}}
{{- if .create -}}{{ .name | default (include "herald.speaker.name" $) }}{{- else -}}{{ .name | default "default" }}{{- end -}}
{{- end -}}
{{- end -}}

{{/* The Secret of the membership protocol; MetalLB's tools and people know it by this name. */}}
{{- define "herald.secretName" -}}
{{- .Values.speaker.secretName | default "metallb-memberlist" -}}
{{- end -}}

{{- define "herald.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}

{{/* Empty when no webhooks are served. */}}
{{- define "herald.webhooks" -}}
{{- if and .Values.controller.enabled (ne .Values.controller.webhookMode "disabled") -}}true{{- end -}}
{{- end -}}

{{/* Whether an object of the cluster is this release's; empty when not. Takes a dict with root and object. */}}
{{- define "herald.isOwn" -}}
{{- $annotations := .object.metadata.annotations | default dict -}}
{{- if and (eq (index $annotations "meta.helm.sh/release-name" | default "") .root.Release.Name) (eq (index $annotations "meta.helm.sh/release-namespace" | default "") .root.Release.Namespace) -}}true{{- end -}}
{{- end -}}
