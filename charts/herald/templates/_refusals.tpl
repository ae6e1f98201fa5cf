{{/*
What a values file may not say, each with a sentence. values.schema.json refuses names and types that are unknown; what
MetalLB's chart knows and Herald's does not is let through by it, and comes here.
*/}}
{{- define "herald.refusals" -}}
{{- include "herald.refuseGone" . -}}
{{- include "herald.refuseFrr" . -}}
{{- range $component := list "controller" "speaker" -}}
{{- $values := index $.Values $component -}}
{{- if $values.image -}}
{{- fail (printf "\n\nvalues: %s.image is gone: one image holds both of Herald's programs. Set image.repository, image.tag and image.pullPolicy, and leave MetalLB's image out." $component) -}}
{{- end -}}
{{- if $values.command -}}
{{- fail (printf "\n\nvalues: %s.command is gone: the image's entry point is Node, and the chart names the program." $component) -}}
{{- end -}}
{{- end -}}
{{- if regexMatch "(^|/)metallb/(controller|speaker|frr-k8s)$" .Values.image.repository -}}
{{- fail "\n\nvalues: image.repository names an image of MetalLB, which holds no Herald." -}}
{{- end -}}
{{- if and .Values.prometheus.podMonitor.enabled .Values.prometheus.serviceMonitor.enabled -}}
{{- fail "\n\nvalues: prometheus.podMonitor.enabled and prometheus.serviceMonitor.enabled exclude one another: everything would be counted twice." -}}
{{- end -}}
{{- if and (or .Values.prometheus.podMonitor.enabled .Values.prometheus.serviceMonitor.enabled) .Values.prometheus.rbacPrometheus (not (and .Values.prometheus.serviceAccount .Values.prometheus.namespace)) -}}
{{- fail "\n\nvalues: a monitor needs prometheus.serviceAccount and prometheus.namespace, which say whom to let in. Set prometheus.rbacPrometheus to false if Prometheus has these rights already." -}}
{{- end -}}
{{- if and .Values.speaker.enabled (not .Values.speaker.memberlist.enabled) .Values.speaker.nodeSelector -}}
{{- fail "\n\nvalues: speaker.nodeSelector needs speaker.memberlist.enabled: without membership, every node is taken to run a speaker." -}}
{{- end -}}
{{- if and .Values.tls.cipherSuites (ne .Values.tls.minVersion "VersionTLS12") -}}
{{- fail "\n\nvalues: tls.cipherSuites is for TLS 1.2 alone: set tls.minVersion to VersionTLS12 with it, or leave it out." -}}
{{- end -}}
{{- include "herald.refuseCompany" . -}}
{{- end -}}

{{/* Names of earlier charts of MetalLB. */}}
{{- define "herald.refuseGone" -}}
{{- range $name, $sentence := dict
  "configInline" "configuration is custom resources now: write an IPAddressPool and an L2Advertisement"
  "existingConfigMap" "configuration is custom resources now: write an IPAddressPool and an L2Advertisement"
  "psp" "Kubernetes has no PodSecurityPolicy any more: label the namespace pod-security.kubernetes.io/enforce=privileged"
-}}
{{- if index $.Values $name -}}
{{- fail (printf "\n\nvalues: %s is gone: %s." $name $sentence) -}}
{{- end -}}
{{- end -}}
{{- range $name, $sentence := dict
  "rbacProxy" "/metrics checks tokens itself"
  "secureMetricsPort" "/metrics is HTTPS at prometheus.metricsPort"
  "controllerMetricsTLSSecret" "it is tls.controllerMetricsTLSSecret now"
  "speakerMetricsTLSSecret" "it is tls.speakerMetricsTLSSecret now"
-}}
{{- if index $.Values.prometheus $name -}}
{{- fail (printf "\n\nvalues: prometheus.%s is gone: %s." $name $sentence) -}}
{{- end -}}
{{- end -}}
{{- range $name, $now := dict "tlsMinVersion" "minVersion" "tlsCipherSuites" "cipherSuites" -}}
{{- if index $.Values.controller $name -}}
{{- fail (printf "\n\nvalues: controller.%s is gone: it is tls.%s now." $name $now) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* FRR is not there; a values file of MetalLB that turns it off is fine. */}}
{{- define "herald.refuseFrr" -}}
{{- $frrk8s := .Values.frrk8s | default dict -}}
{{- if or $frrk8s.enabled $frrk8s.external -}}
{{- fail "\n\nvalues: frrk8s.enabled and frrk8s.external: Herald has no frr-k8s. Set both to false, or leave frrk8s out." -}}
{{- end -}}
{{- if index .Values "frr-k8s" -}}
{{- fail "\n\nvalues: frr-k8s: Herald has no frr-k8s. Leave it out." -}}
{{- end -}}
{{- if (.Values.speaker.frr | default dict).enabled -}}
{{- fail "\n\nvalues: speaker.frr.enabled: Herald runs no FRR. Set it to false, or leave speaker.frr out." -}}
{{- end -}}
{{- end -}}

{{/*
Two programs that announce the same Services fight over them, so nothing is installed beside MetalLB or another Herald.
Where there is no cluster to ask (helm template) nothing is found.
*/}}
{{- define "herald.refuseCompany" -}}
{{- range $kind := list "DaemonSet" "Deployment" -}}
{{- range $object := (lookup "apps/v1" $kind "" "").items -}}
{{- $labels := $object.metadata.labels | default dict -}}
{{- $name := index $labels "app.kubernetes.io/name" | default (index $labels "app") | default "" -}}
{{- $component := index $labels "app.kubernetes.io/component" | default (index $labels "component") | default "" -}}
{{- $found := and (has $name (list "metallb" "herald")) (has $component (list "controller" "speaker")) -}}
{{- range $object.spec.template.spec.containers -}}
{{- /* quay.io/metallb/speaker, and mirrors such as example.com/mirrored-metallb-speaker. */}}
{{- if and (has .name (list "controller" "speaker")) (regexMatch "(?i)metallb" (.image | default "")) -}}
{{- $found = true -}}
{{- end -}}
{{- end -}}
{{- if and $found (not (include "herald.isOwn" (dict "root" $ "object" $object))) -}}
{{- fail (printf "\n\n%s %s/%s is there already: two load balancers that give addresses to the same Services would take them from one another. Uninstall it first (custom resources can stay: Herald reads the same ones), then install Herald." $kind $object.metadata.namespace $object.metadata.name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
