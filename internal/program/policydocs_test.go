package program

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The how-to is followed to the letter: the files it shows are written, the
// commands it shows are run on this repository, and say what it says.
func TestDocs_write_a_policy_does_what_it_says(t *testing.T) {
	text, err := os.ReadFile("../../docs/how-to/write-a-policy.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "my-policies"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir("../..")
	named := regexp.MustCompile("`(my-[^`]+\\.(?:rego|yaml))`")
	ran := 0
	blocks := regexp.MustCompile("(?s)```(rego|yaml|console)\n(.*?)```").FindAllStringSubmatchIndex(string(text), -1)
	for _, at := range blocks {
		before, kind, body := string(text[:at[0]]), string(text[at[2]:at[3]]), string(text[at[4]:at[5]])
		if kind != "console" {
			names := named.FindAllStringSubmatch(before, -1)
			if err := os.WriteFile(filepath.Join(dir, names[len(names)-1][1]), []byte(body), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		ran++
		line, want, _ := strings.Cut(body, "\n")
		args := strings.Fields(strings.TrimPrefix(line, "$ bin/nexus "))
		for i, arg := range args {
			if strings.HasPrefix(arg, "my-") {
				args[i] = filepath.Join(dir, arg)
			}
		}
		code := 0
		if strings.Contains(want, "\nnexus: ") {
			code = 1
		}
		if out, got := nexus(t, args...); out != want || got != code {
			t.Errorf("%s\nexit code %d, want %d, and\n%swant\n%s", line, got, code, out, want)
		}
	}
	if ran != 2 {
		t.Errorf("%d commands ran", ran)
	}
}

// The templates for CI are YAML, run commands that there are, and hand on the
// reports that these write.
func TestDocs_templates_for_ci_run_commands_that_there_are(t *testing.T) {
	command := regexp.MustCompile(`(?m)\./nexus (.*)$`)
	var templates [][]byte
	for _, name := range []string{"github-actions.yaml", "gitlab-ci.yaml"} {
		text, err := os.ReadFile(filepath.Join("../../deploy/ci", name))
		if err != nil {
			t.Fatal(err)
		}
		templates = append(templates, text)
	}
	for _, text := range templates {
		var parsed map[string]any
		if err := yaml.Unmarshal(text, &parsed); err != nil {
			t.Fatal(err)
		}
		t.Chdir(folder(t, calling()))
		if err := os.MkdirAll("schemas/avro/history", 0o755); err != nil {
			t.Fatal(err)
		}
		codes := map[string]int{}
		for _, m := range command.FindAllSubmatch(text, -1) {
			args := strings.Fields(string(m[1]))
			out, code := nexus(t, args...)
			codes[args[0]] = code
			if code == 2 {
				t.Errorf("nexus %s: %s", m[1], out)
			}
		}
		if len(codes) != 2 || codes["schemas"] != 0 || codes["verify"] != 1 {
			t.Errorf("exit codes %v", codes)
		}
		for _, report := range []string{"verify.sarif", "verify.xml"} {
			if _, err := os.Stat(report); err != nil {
				t.Error(err)
			}
		}
	}
}
