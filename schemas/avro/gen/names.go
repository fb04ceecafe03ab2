package main

import (
	"strings"
	"unicode"
)

// initialisms are written in capitals in Go names: orderId becomes OrderID.
var initialisms = func() map[string]string {
	m := map[string]string{"IDS": "IDs", "URLS": "URLs"}
	for _, w := range strings.Fields("ACL API ASCII CPU CSS DNS EOF GUID HTML HTTP HTTPS ID IP JSON QPS RAM RPC " +
		"SLA SMTP SQL SSH TCP TLS TTL UDP UI UID URI URL UTF8 UUID VM XML") {
		m[w] = w
	}
	return m
}()

// goName turns an Avro name or symbol into an exported Go name: orderId, order_id and ORDER_ID become OrderID.
func goName(name string) string {
	var out strings.Builder
	for _, w := range words(name) {
		upper := strings.ToUpper(w)
		switch {
		case initialisms[upper] != "":
			out.WriteString(initialisms[upper])
		case w == upper && strings.ToUpper(name) == name:
			out.WriteString(upper[:1] + strings.ToLower(w[1:]))
		default:
			out.WriteString(upper[:1] + w[1:])
		}
	}
	return out.String()
}

// words splits at underscores and where a capital follows a small letter or a digit.
func words(name string) (out []string) {
	for part := range strings.SplitSeq(name, "_") {
		start := 0
		for i := 1; i < len(part); i++ {
			if unicode.IsUpper(rune(part[i])) && !unicode.IsUpper(rune(part[i-1])) {
				out, start = append(out, part[start:i]), i
			}
		}
		if part != "" {
			out = append(out, part[start:])
		}
	}
	return out
}

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }

// comment writes text as a Go comment of lines of at most about 110 characters, each after indent.
func comment(indent, text string) string {
	var out strings.Builder
	for paragraph := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		line := indent + "//"
		for w := range strings.FieldsSeq(paragraph) {
			if len(line)+1+len(w) > 110 && line != indent+"//" {
				out.WriteString(line + "\n")
				line = indent + "//"
			}
			line += " " + w
		}
		out.WriteString(line + "\n")
	}
	return out.String()
}
