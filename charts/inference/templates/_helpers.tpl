{{- define "inference.name" -}}
{{ .Release.Name | trunc 55 | trimSuffix "-" }}
{{- end }}

{{- /* What the Service, the budget and the policies select: pods of the model and of the canary. */ -}}
{{- define "inference.selector" -}}
app.kubernetes.io/name: inference
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "inference.testLabels" -}}
app.kubernetes.io/name: inference-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "inference.labels" -}}
{{ include "inference.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: repoloom
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "inference.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "inference.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (ternary (include "inference.name" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- define "inference.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "inference.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "inference.check" -}}
{{- $_ := required "model.uri is needed: the address of an exported model, s3://bucket/…/model" .Values.model.uri }}
{{- if .Values.canary.enabled }}
{{- $_ := required "canary.model.uri is needed where the canary is enabled" .Values.canary.model.uri }}
{{- end }}
{{- if not (or .Values.allowInsecure (and .Values.tls.secretName .Values.callers.secretName)) }}
{{- fail "give tls.secretName and callers.secretName, or set allowInsecure: true for a network that nobody else is on" }}
{{- end }}
{{- if and .Values.tls.clientCertificates (not (and .Values.tls.secretName .Values.callers.secretName)) }}
{{- fail "tls.clientCertificates needs tls.secretName, and callers.secretName, which says what each certificate may do" }}
{{- end }}
{{- if lt (float64 .Values.serving.drainSeconds) (float64 .Values.serving.requestSeconds) }}
{{- fail (printf "serving.drainSeconds is %s and serving.requestSeconds %s: a pod that is stopped would cut off requests that may still run; give both, the first no less than the second" (toJson .Values.serving.drainSeconds) (toJson .Values.serving.requestSeconds)) }}
{{- end }}
{{- $policy := .Values.networkPolicy }}
{{- if and $policy.enabled (or .Values.ingress.enabled .Values.httpRoute.enabled (ne .Values.service.type "ClusterIP")) (not $policy.clients) }}
{{- fail "who comes by an ingress, httpRoute, or service.type NodePort or LoadBalancer needs networkPolicy.clients: peers such as [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress-nginx}}}] or [{ipBlock: {cidr: 203.0.113.0/24}}]" }}
{{- end }}
{{- if and .Values.tls.secretName .Values.ingress.enabled (not (or .Values.ingress.annotations .Values.service.annotations)) }}
{{- fail "ingress with tls.secretName needs ingress.annotations or service.annotations by which the controller speaks TLS to the pods, such as {nginx.ingress.kubernetes.io/backend-protocol: HTTPS}" }}
{{- end }}
{{- if and .Values.tls.secretName .Values.httpRoute.enabled (not .Values.httpRoute.caConfigMapName) }}
{{- fail "httpRoute with tls.secretName needs httpRoute.caConfigMapName: a ConfigMap whose ca.crt signed the pods' certificate, for the gateway speaks TLS to them" }}
{{- end }}
{{- if and $policy.enabled .Values.serviceMonitor.enabled (not $policy.monitoring) }}
{{- fail "serviceMonitor needs networkPolicy.monitoring: the peers that read metrics, such as [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]" }}
{{- end }}
{{- end }}
