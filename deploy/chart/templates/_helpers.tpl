{{- define "prosa.name" -}}
{{ printf "%s-%s" .root.Release.Name .target | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "prosa.selector" -}}
app.kubernetes.io/name: prosa
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .target }}
{{- end }}

{{- define "prosa.labels" -}}
{{ include "prosa.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "prosa.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* A pod that may do nothing but run its program. */}}
{{- define "prosa.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "prosa.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "prosa.databaseVariable" -}}
PROSA_{{ . | upper }}_DATABASE_URL
{{- end }}
