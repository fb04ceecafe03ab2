package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

// section renders a benchmark as Markdown.
func section(name, title string, m machine, rep report, lines []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "### `%s`: %s\n\n", name, title)
	b.WriteString("| what | target | measured | |\n|---|---|---|---|\n")
	for _, c := range rep.claims {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", c.what, c.target, c.value, c.verdict())
	}
	fmt.Fprintf(&b, "\n%s.\n", m)
	for _, n := range rep.notes {
		fmt.Fprintf(&b, "\n%s\n", n)
	}
	if len(lines) > 0 {
		fmt.Fprintf(&b, "\n<details><summary>runs</summary>\n\n```\n%s\n```\n\n</details>\n", strings.Join(lines, "\n"))
	}
	return b.String()
}

// writeSection replaces a benchmark's section in a Markdown file, or appends it.
func writeSection(file, name, text string) error {
	old, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.WriteFile(file, []byte(withSection(string(old), name, text)), 0o644) //nolint:gosec // a document for everybody
}

func withSection(doc, name, text string) string {
	begin, end := "<!-- bench:"+name+" -->", "<!-- /bench:"+name+" -->"
	marked := begin + "\n" + text + end
	old := regexp.MustCompile(`(?s)` + regexp.QuoteMeta(begin) + `.*?` + regexp.QuoteMeta(end))
	if at := old.FindStringIndex(doc); at != nil {
		return doc[:at[0]] + marked + doc[at[1]:]
	}
	return strings.TrimRight(doc, "\n") + "\n\n" + marked + "\n"
}
