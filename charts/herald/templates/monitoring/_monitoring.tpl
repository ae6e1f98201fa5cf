{{/*
One endpoint of a monitor. Takes a dict with root, values (the monitor's), tls (its tlsConfig) and tokenSecret: name of the
Secret with a token, or "" for Prometheus' own token.
*/}}
{{- define "herald.endpoint" -}}
port: metricshttps
path: /metrics
honorLabels: true
{{- with .values.interval }}
interval: {{ . }}
{{- end }}
{{- if .root.Values.prometheus.secureMetrics }}
scheme: https
{{- if .tokenSecret }}
authorization:
  credentials:
    name: {{ .tokenSecret }}
    key: token
{{- else }}
bearerTokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token
{{- end }}
{{- with .tls }}
tlsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with .values.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Whether there is any monitor. */}}
{{- define "herald.monitored" -}}
{{- if or .Values.prometheus.podMonitor.enabled .Values.prometheus.serviceMonitor.enabled -}}true{{- end -}}
{{- end -}}

{{- define "herald.metricsReader.name" -}}{{ include "herald.fullname" . }}-metrics-reader{{- end -}}
