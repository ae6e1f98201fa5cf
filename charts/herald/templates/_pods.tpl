{{/* Parts of the pods that controller and speaker have in common. */}}

{{/* A probe without its question. Takes the probe's values. */}}
{{- define "herald.probe" -}}
{{- range $field := list "initialDelaySeconds" "periodSeconds" "timeoutSeconds" "successThreshold" "failureThreshold" }}
{{- if hasKey $ $field }}
{{ $field }}: {{ index $ $field }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Flags that both programs know. Takes a dict with root, values (the component's) and certificate (name of a Secret or ""). */}}
{{- define "herald.flags" -}}
{{- $values := .root.Values -}}
- --port={{ $values.prometheus.metricsPort }}
{{- if ne (int (.values.livenessProbe.port | default 17472)) 17472 }}
- --health-probe-port={{ .values.livenessProbe.port }}
{{- end }}
{{- with .values.logLevel }}
- --log-level={{ . }}
{{- end }}
{{- with $values.loadBalancerClass }}
- --lb-class={{ . }}
{{- end }}
{{- if not $values.prometheus.secureMetrics }}
- --metrics-plain=true
{{- end }}
{{- with $values.tls.minVersion }}
- --tls-min-version={{ . }}
{{- end }}
{{- with $values.tls.cipherSuites }}
- --tls-cipher-suites={{ . }}
{{- end }}
{{- with $values.tls.curvePreferences }}
- --tls-curve-preferences={{ . }}
{{- end }}
{{- if .certificate }}
- --metrics-cert-dir=/etc/metrics
{{- end }}
{{- end -}}

{{/* Annotations of a pod. Takes a dict with root, values (the component's) and more (a dict). */}}
{{- define "herald.podAnnotations" -}}
{{- $annotations := dict -}}
{{- $prometheus := .root.Values.prometheus -}}
{{- if $prometheus.scrapeAnnotations -}}
{{- $annotations = dict "prometheus.io/scrape" "true" "prometheus.io/port" (toString $prometheus.metricsPort) "prometheus.io/scheme" (ternary "https" "http" $prometheus.secureMetrics) -}}
{{- end -}}
{{- with mergeOverwrite $annotations .more (.values.podAnnotations | default dict) -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/*
Priority class of the speakers when no value says which. The highest one takes a node's ports from whoever has them, and a
speaker of MetalLB's has the same ones: it would have to go before Herald's could see that it is there, and wait. So that class
is for those whose cluster helm can ask, where herald.refuseCompany has found no MetalLB.
*/}}
{{- define "herald.speaker.priorityClass" -}}
{{- $canAsk := lookup "v1" "Namespace" "" "default" -}}
{{- .Values.speaker.priorityClassName | default (ternary "system-node-critical" "" (not (empty $canAsk))) -}}
{{- end -}}

{{/* What follows a pod's containers. Takes the component's values. */}}
{{- define "herald.scheduling" -}}
nodeSelector:
  kubernetes.io/os: linux
  {{- with .nodeSelector }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .runtimeClassName }}
runtimeClassName: {{ . | quote }}
{{- end }}
{{- end -}}
