{{- /* The name of the application: that of the chart, or another. */}}
{{- define "argus.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* The name of the release's objects. Some get an end, so there is room for one. */}}
{{- define "argus.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "argus.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "argus.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* What tells the objects of this release from all others. It never changes: a Deployment's selector cannot. */}}
{{- define "argus.instance" -}}
app.kubernetes.io/name: {{ include "argus.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- /* What tells the pods of the controller from those of the Job. */}}
{{- define "argus.selector" -}}
{{ include "argus.instance" . }}
app.kubernetes.io/component: controller
{{- end }}

{{- define "argus.labels" -}}
{{ include "argus.instance" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: argus
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "argus.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end }}

{{- define "argus.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "argus.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end }}

{{- /* The settings of the machine. The namespaces of custom resources come from the one place that their Roles come from. */}}
{{- define "argus.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- if hasKey $config "databaseUrl" -}}
{{- fail "config.databaseUrl would stand in a ConfigMap: put the address into a Secret, and name that in `database`" -}}
{{- end -}}
{{- if hasKey (default dict $config.kubernetes) "namespaces" -}}
{{- fail "config.kubernetes.namespaces comes from `kubernetes.namespaces`, as the rights in those namespaces do: say it there" -}}
{{- end -}}
{{- if not (or .Values.kubernetes.namespaces (dig "controller" "sources" list $config)) -}}
{{- fail "there is nothing to look at: list repositories under `config.controller.sources`, or bind namespaces under `kubernetes.namespaces`" -}}
{{- end -}}
{{- if hasKey (default dict $config.kubernetes) "admission" -}}
{{- fail "config.kubernetes.admission comes from `admission`, as the Service and the webhook do: say it there" -}}
{{- end -}}
{{- if and .Values.admission.enabled (not .Values.kubernetes.namespaces) -}}
{{- fail "admission.enabled has nobody to answer: bind namespaces under `kubernetes.namespaces`" -}}
{{- end -}}
{{- if .Values.kubernetes.namespaces -}}
{{- $_ := set $config "kubernetes" (merge (dict "namespaces" .Values.kubernetes.namespaces) (default dict $config.kubernetes)) -}}
{{- end -}}
{{- if .Values.admission.enabled -}}
{{- $own := dict "serviceName" (include "argus.fullname" .) "namespace" .Release.Namespace "secretName" (include "argus.admissionSecret" .) -}}
{{- $admission := dict "listen" (printf "%s:%v" .Values.http.address .Values.admission.port) "selfSigned" $own "webhookName" (include "argus.webhook" .) -}}
{{- $_ := set $config.kubernetes "admission" (merge $admission (pick .Values.admission "timeout" "onFailure")) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end }}

{{- /* The webhook is no object of a namespace: two releases of the same name are told apart. */}}
{{- define "argus.webhook" -}}
{{ include "argus.fullname" . }}-{{ .Release.Namespace }}
{{- end }}

{{- define "argus.admissionSecret" -}}
{{ include "argus.fullname" . }}-admission
{{- end }}

{{- /* A rule of a NetworkPolicy: to whom, and on which ports. Takes the peers, the ports and the protocols. */}}
{{- define "argus.egress" -}}
- ports:
    {{- range $port := .ports }}
    {{- range $protocol := $.protocols }}
    - {port: {{ $port }}, protocol: {{ $protocol }}}
    {{- end }}
    {{- end }}
  {{- with .to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
