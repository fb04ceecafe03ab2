package config

import (
	"fmt"
	"strings"
)

// Reference is the reference page of all settings, as Markdown.
func Reference() string {
	var b strings.Builder
	b.WriteString(`# Configuration

<!-- Made from internal/config/settings.go: go test ./internal/config -update -->

` + "`nexus run --config nexus.yaml`" + ` reads a YAML file, then environment variables, then flags; the later one wins. An unknown key is an error, and all
faults are named at once, each with its place. Secrets come from the environment or from a file of their own, never from this file or a
flag, and are never printed; a start, and ` + "`nexus doctor`" + `, warn of a secret's file that others may read. Files are regular ones of at most 1 MiB.

` + "```yaml" + `
listen: 127.0.0.1:8080
data: ./nexus-data
bus: kafka://127.0.0.1:29092            # or: {url: kafka+tls://…, user: nexus, passwordFile: /run/secrets/kafka}
registry: http://127.0.0.1:28081/apis/ccompat/v7
search: elasticsearch+http://127.0.0.1:29200
` + "```" + `

| key | environment | flag | default | |
|---|---|---|---|---|
`)
	for i := range settings {
		s := &settings[i]
		key, flag, first := "`"+s.key+"`", "`--"+s.flag()+" "+s.value+"`", ""
		if s.secret {
			key, flag = "", ""
		}
		if s.first != "" {
			first = "`" + s.first + "`"
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %s |\n", key, s.env(), strings.ReplaceAll(flag, "|", `\|`), first, s.doc)
	}
	return b.String()
}
