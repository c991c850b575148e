{{/* development.sync: /app is a copy that files can be put into, and what runs starts anew when one changes. */}}

{{- define "repoloom.sync.command" -}}
{{- if .root.Values.development.sync }}{{ concat (list "python" "-m" "repoloom.up.reload") .command | toJson }}
{{- else }}{{ toJson .command }}{{ end }}
{{- end }}

{{- define "repoloom.sync.init" -}}
{{- if .Values.development.sync }}
- name: code
  image: {{ .Values.images.repoloom }}
  imagePullPolicy: {{ .Values.images.pullPolicy }}
  command: [cp, -r, /app/., /code]
  {{- include "repoloom.securityContext" . | nindent 2 }}
  volumeMounts:
    - {name: code, mountPath: /code}
{{- end }}
{{- end }}

{{- define "repoloom.sync.mount" -}}
{{- if .Values.development.sync }}
- {name: code, mountPath: /app}
{{- end }}
{{- end }}

{{- define "repoloom.sync.volume" -}}
{{- if .Values.development.sync }}
- name: code
  emptyDir: {}
{{- end }}
{{- end }}
