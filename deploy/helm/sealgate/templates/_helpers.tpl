{{- define "sealgate.labels" -}}
app.kubernetes.io/name: sealgate
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sealgate.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "sealgate.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- /* Copies secrets and configuration into the pod's memory, as its own user's alone. */ -}}
{{- define "sealgate.settle" -}}
- name: settle
  image: {{ .Values.image }}
  imagePullPolicy: {{ .Values.pullPolicy }}
  command: [python, /sources/config/settle.py, /sources, /var/lib/sealgate]
  {{- include "sealgate.containerSecurity" . | nindent 2 }}
  resources:
    requests: {cpu: 50m, memory: 64Mi}
    limits: {cpu: 500m, memory: 128Mi}
{{- end }}

{{- define "sealgate.podName" -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- end }}

{{- define "sealgate.claim" -}}
- metadata: {name: data}
  spec:
    accessModes: [ReadWriteOnce]
    {{- with .className }}
    storageClassName: {{ . }}
    {{- end }}
    resources: {requests: {storage: {{ .size }}}}
{{- end }}

{{- define "sealgate.rootKeys" -}}
[{{ range $index, $key := .Values.roots.keys }}{{ if $index }}, {{ end }}"trust/{{ $key }}"{{ end }}]
{{- end }}

{{- define "sealgate.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector: {matchLabels: {app.kubernetes.io/instance: {{ .release }}, app.kubernetes.io/component: {{ .component }}}}
{{- end }}

{{- /* What engines and generators have in common. */ -}}
{{- define "sealgate.engine" -}}
[listen]
tls = "0.0.0.0:9443"

[tls]
certificate = "engine/tls.pem"
key = "engine/tls.key"
gateways = ["engine/client.pem"]

[trust]
root_keys = {{ include "sealgate.rootKeys" . }}
threshold = {{ .Values.roots.threshold }}
seen = "data/seen.json"

[artifacts]
place = {{ toJson .Values.artifacts.place }}
{{- with .Values.artifacts.endpoint }}
endpoint = {{ toJson . }}
{{- end }}
{{- with .Values.artifacts.region }}
region = {{ toJson . }}
{{- end }}

[engine]
name = "engine"
key = "engine/engine.key"
{{- end }}

{{- /* Egress of a pod that is a client of the gateway. */ -}}
{{- define "sealgate.toGateway" -}}
- to: [{podSelector: {matchLabels: {app.kubernetes.io/instance: {{ .Release.Name }}, app.kubernetes.io/component: gateway}}}]
  ports: [{port: 8443, protocol: TCP}, {port: 8444, protocol: TCP}]
- to: {{- toYaml .Values.network.dns | nindent 4 }}
  ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
{{- end }}
