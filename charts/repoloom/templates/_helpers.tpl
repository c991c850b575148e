{{/* What the templates share. A component's own words are given as (dict "root" $ "component" "filter"). */}}

{{- define "repoloom.fullname" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "repoloom.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "repoloom.labels" -}}
{{ include "repoloom.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{/* What every pod has: no rights, no token, and of the restricted kind (Pod Security Standards). */}}
{{- define "repoloom.pod" -}}
serviceAccountName: {{ include "repoloom.fullname" . }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{ include "repoloom.podSecurityContext" . }}
{{- end }}

{{- define "repoloom.podSecurityContext" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 1000
  fsGroup: 1000
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "repoloom.securityContext" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Dots, which no namespace has in it: no two releases have one name of it. */}}
{{- define "repoloom.priorityClass" -}}
{{- if .root.Values.priorityClasses.create -}}
{{ printf "%s.%s.%s" .root.Release.Namespace (include "repoloom.fullname" .root) .class }}
{{- end }}
{{- end }}

{{- define "repoloom.spread" -}}
topologySpreadConstraints:
  {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "repoloom.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}

{{/* The values of the workers of a queue: its own over the defaults. */}}
{{- define "repoloom.worker" -}}
{{ mergeOverwrite (deepCopy .root.Values.workers.defaults) (deepCopy (index .root.Values.workers .queue)) | toYaml }}
{{- end }}

{{/* The queues whose workers KEDA scales, or nothing. */}}
{{- define "repoloom.scaledQueues" -}}
{{- $queues := list }}
{{- range $queue := list "cpu" "highmem" }}
{{- if (include "repoloom.worker" (dict "root" $ "queue" $queue) | fromYaml).autoscaling.enabled }}
{{- $queues = append $queues $queue }}
{{- end }}
{{- end }}
{{- join " and " $queues }}
{{- end }}

{{/* The names of secrets: those that were given, or those that the chart makes. */}}
{{- define "repoloom.storeSecret" -}}
{{ .Values.store.secretName | default (printf "%s-store" (include "repoloom.fullname" .)) }}
{{- end }}
{{- define "repoloom.redisSecret" -}}
{{ .Values.redis.secretName | default (printf "%s-redis" (include "repoloom.fullname" .)) }}
{{- end }}
{{- define "repoloom.callersSecret" -}}
{{ .Values.callers.secretName | default (printf "%s-callers" (include "repoloom.fullname" .)) }}
{{- end }}
{{- define "repoloom.tlsSecret" -}}
{{ .Values.tls.secretName | default (printf "%s-tls" (include "repoloom.fullname" .)) }}
{{- end }}

{{- define "repoloom.redisHost" -}}
{{- if .Values.redis.development.enabled }}{{ include "repoloom.fullname" . }}-redis.{{ .Release.Namespace }}.svc
{{- else }}{{ .Values.redis.host }}{{ end }}
{{- end }}

{{/* The name of what runs: workers and runs of one build share queues (REPOLOOM_BUILD). */}}
{{- define "repoloom.build" -}}
{{ sha256sum .Values.images.repoloom | trunc 12 }}
{{- end }}

{{/* The store, of all that moves data: not secret, and secret. */}}
{{- define "repoloom.storeFrom" -}}
- configMapRef: {name: {{ include "repoloom.fullname" . }}-environment}
- secretRef: {name: {{ include "repoloom.storeSecret" . }}}
{{- end }}

{{/* Redis, of services, workers, and the pods that run recipes: not secret, and secret. */}}
{{- define "repoloom.queueFrom" -}}
- configMapRef: {name: {{ include "repoloom.fullname" . }}-queue}
- secretRef: {name: {{ include "repoloom.redisSecret" . }}}
{{- end }}

{{/* Private authorities, as files: AWS_CA_BUNDLE and REPOLOOM_REDIS_CA say where. Of (root, of), which lists store, redis or both. */}}
{{- define "repoloom.authorityMounts" -}}
{{- range .of }}
{{- if (index $.root.Values .).caSecretName }}
- {name: {{ . }}-ca, mountPath: /etc/repoloom/{{ . }}, readOnly: true}
{{- end }}
{{- end }}
{{- end }}
{{- define "repoloom.authorityVolumes" -}}
{{- range $part := .of }}
{{- with (index $.root.Values $part).caSecretName }}
- name: {{ $part }}-ca
  secret: {secretName: {{ . }}, items: [{key: ca.crt, path: ca.crt}]}
{{- end }}
{{- end }}
{{- end }}

{{/* What values say of pods that the operator starts, and these volumes. Of (root, of, pods). */}}
{{- define "repoloom.started" -}}
{{- $mounts := concat (include "repoloom.authorityMounts" . | fromYamlArray) (.pods.volumeMounts | default list) }}
{{- $volumes := concat (include "repoloom.authorityVolumes" . | fromYamlArray) (.pods.volumes | default list) }}
{{- merge (dict "volumes" $volumes "volumeMounts" $mounts) .pods | toYaml }}
{{- end }}

{{/* A value of a secret that the chart makes: the one that is there, else a new one. */}}
{{- define "repoloom.kept" -}}
{{- $there := lookup "v1" "Secret" .root.Release.Namespace .secret -}}
{{- if $there }}{{ index $there.data .key | b64dec }}{{ else }}{{ .new }}{{ end }}
{{- end }}
