{{- /* A Deployment of one model. Of (root, track, model, replicas, suffix); replicas nil: an autoscaler says. */ -}}
{{- define "inference.deployment" -}}
{{- $v := .root.Values -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "inference.name" .root }}{{ .suffix }}
  labels:
    {{- include "inference.labels" .root | nindent 4 }}
    repoloom.dev/track: {{ .track }}
spec:
  {{- if not (kindIs "invalid" .replicas) }}
  replicas: {{ .replicas | toJson }}
  {{- end }}
  revisionHistoryLimit: 5
  progressDeadlineSeconds: {{ add $v.probes.startupSeconds 60 }}
  selector:
    matchLabels:
      {{- include "inference.selector" .root | nindent 6 }}
      repoloom.dev/track: {{ .track }}
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxSurge: 1
      maxUnavailable: 0
  template:
    metadata:
      labels:
        {{- include "inference.labels" .root | nindent 8 }}
        repoloom.dev/track: {{ .track }}
        {{- with $v.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        checksum/settings: {{ include (print .root.Template.BasePath "/configmap.yaml") .root | sha256sum }}
        {{- with $v.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "inference.serviceAccount" .root }}
      automountServiceAccountToken: false
      enableServiceLinks: false
      securityContext:
        {{- include "inference.podSecurityContext" .root | nindent 8 }}
      terminationGracePeriodSeconds: {{ add $v.serving.preStopSeconds $v.serving.drainSeconds 15 }}
      {{- with $v.imagePullSecrets }}
      imagePullSecrets:
        {{- range . }}
        - name: {{ . }}
        {{- end }}
      {{- end }}
      {{- with $v.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- with $v.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $v.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $v.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      topologySpreadConstraints:
        {{- if $v.topologySpreadConstraints }}
        {{- toYaml $v.topologySpreadConstraints | nindent 8 }}
        {{- else }}
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "inference.selector" .root | nindent 14 }}
        {{- end }}
      containers:
        - name: inference
          image: {{ include "inference.image" .root }}
          imagePullPolicy: {{ $v.image.pullPolicy }}
          command: [repoloom-inference]
          terminationMessagePolicy: FallbackToLogsOnError
          securityContext:
            {{- include "inference.securityContext" .root | nindent 12 }}
          ports:
            - name: http
              containerPort: 8000
            - name: grpc
              containerPort: 8001
            - name: metrics
              containerPort: 9090
          envFrom:
            - configMapRef:
                name: {{ include "inference.name" .root }}
            {{- with $v.store.secretName }}
            - secretRef:
                name: {{ . }}
            {{- end }}
          env:
            - name: REPOLOOM_MODEL
              value: {{ .model.uri | quote }}
            {{- with .model.sha256 }}
            - name: REPOLOOM_MODEL_SHA256
              value: {{ . | quote }}
            {{- end }}
            {{- if dig "limits" "cpu" "" $v.resources }}
            - name: OMP_NUM_THREADS
              valueFrom:
                resourceFieldRef:
                  containerName: inference
                  resource: limits.cpu
            {{- end }}
            {{- with $v.env }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          # All three ask the port without TLS, since a node has no certificate to show.
          startupProbe:
            httpGet:
              path: /readyz
              port: metrics
            periodSeconds: 5
            timeoutSeconds: 5
            failureThreshold: {{ div (add $v.probes.startupSeconds 4) 5 }}
          readinessProbe:
            httpGet:
              path: /readyz
              port: metrics
            periodSeconds: 5
            timeoutSeconds: 5
            failureThreshold: 2
          livenessProbe:
            httpGet:
              path: /healthz
              port: metrics
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          lifecycle:
            preStop:
              exec:
                command: [sleep, {{ $v.serving.preStopSeconds | toJson | quote }}]
          resources:
            requests:
              {{- with $v.resources.requests }}
              {{- toYaml . | nindent 14 }}
              {{- end }}
              {{- if $v.gpu.count }}
              {{ $v.gpu.resource }}: {{ $v.gpu.count | toJson }}
              {{- end }}
            limits:
              {{- with $v.resources.limits }}
              {{- toYaml . | nindent 14 }}
              {{- end }}
              {{- if $v.gpu.count }}
              {{ $v.gpu.resource }}: {{ $v.gpu.count | toJson }}
              {{- end }}
          volumeMounts:
            - name: tmp
              mountPath: /tmp
            {{- if $v.gpu.count }}
            - name: shm
              mountPath: /dev/shm
            {{- end }}
            {{- if $v.store.caSecretName }}
            - name: store-ca
              mountPath: /etc/repoloom/store
              readOnly: true
            {{- end }}
            {{- if $v.tls.secretName }}
            - name: tls
              mountPath: /etc/repoloom/tls
              readOnly: true
            {{- end }}
            {{- if $v.callers.secretName }}
            - name: callers
              mountPath: /etc/repoloom/callers
              readOnly: true
            {{- end }}
      volumes:
        - name: tmp
          emptyDir:
            sizeLimit: {{ $v.scratch.sizeLimit }}
        {{- if $v.gpu.count }}
        - name: shm
          emptyDir:
            medium: Memory
            sizeLimit: {{ $v.gpu.sharedMemory }}
        {{- end }}
        {{- with $v.store.caSecretName }}
        - name: store-ca
          secret:
            secretName: {{ . }}
            items:
              - key: ca.crt
                path: ca.crt
        {{- end }}
        {{- with $v.tls.secretName }}
        - name: tls
          secret:
            secretName: {{ . }}
        {{- end }}
        {{- with $v.callers.secretName }}
        - name: callers
          secret:
            secretName: {{ . }}
        {{- end }}
{{- end }}
