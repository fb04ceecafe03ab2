package elasticsearch

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/internal/config"
)

func TestOpen_Config(t *testing.T) {
	for want, cfg := range map[string]config.Search{
		`""`:                       {},
		"http:// or https://":      {URL: "elasticsearch+host:9200"},
		"credentials":              {URL: "elasticsearch+https://user:s3cret@host:9200"},
		"without ? and #":          {URL: "elasticsearch+https://host:9200/?pretty"},
		"reading the authorities'": {URL: "elasticsearch+https://host:9200", CAFile: "nowhere.pem"},
		"holds no certificate":     {URL: "elasticsearch+https://host:9200", CAFile: "open_test.go"},
	} {
		_, err := Open(t.Context(), cfg)
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v: error %v, want %v that says %q", cfg, err, ErrConfig, want)
		}
	}
}

// serve answers as a cluster of that version would; the handler, if there is one, everything but "/".
func serve(t *testing.T, version string, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(answering(version, handler))
	t.Cleanup(server.Close)
	return server
}

func answering(version string, handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Elastic-Product", "Elasticsearch")
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/" {
			fmt.Fprintf(w, `{"version":{"number":%q}}`, version)
			return
		}
		handler(w, r)
	}
}

func TestOpen_Version(t *testing.T) {
	for version, ok := range map[string]bool{
		"7.17.0": true, "7.17.28": true, "8.0.0": true, "8.19.3": true, "8.15.0-SNAPSHOT": true,
		"6.8.23": false, "7.16.3": false, "9.0.0": false, "": false, "8": false, "seven.17.1": false,
	} {
		s, err := Open(t.Context(), config.Search{URL: serve(t, version, nil).URL})
		switch {
		case ok && err != nil:
			t.Errorf("version %q: %v", version, err)
		case ok && s.Version() != version:
			t.Errorf("version %q is said to be %q", version, s.Version())
		case !ok && (!errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "7.17 and 8 are supported")):
			t.Errorf("version %q: error %v, want %v that says what is supported", version, err, ErrUnsupported)
		}
	}
}

func TestOpen_SomethingElse(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"version":{"distribution":"opensearch","number":"2.19.1"}}`)
	}))
	defer server.Close()
	if _, err := Open(t.Context(), config.Search{URL: server.URL}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("error %v, want %v", err, ErrUnsupported)
	}
	server.Close()
	if _, err := Open(t.Context(), config.Search{URL: server.URL}); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), server.URL) {
		t.Errorf("error %v, want %v that names %s", err, ErrUnavailable, server.URL)
	}
}

// Over TLS, with the authority of a file, the password or the key arrives; a refusal says what to check, and not the secret.
func TestOpen_Credentials(t *testing.T) {
	var got string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("Authorization")
		if strings.EqualFold(got, "ApiKey s3cret") {
			answering("8.19.0", nil)(w, r)
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"error":{"type":"security_exception","reason":"unable to authenticate user [nexus]"},"status":401}`)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of refused handshakes
	server.StartTLS()
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), config.Search{URL: server.URL, APIKey: config.NewSecret("s3cret")}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("without its authority: error %v, want %v", err, ErrUnavailable)
	}
	if _, err := Open(t.Context(), config.Search{URL: server.URL, CAFile: ca, APIKey: config.NewSecret("s3cret")}); err != nil {
		t.Errorf("with an API key: %v", err)
	}
	_, err := Open(t.Context(), config.Search{URL: server.URL, CAFile: ca, User: "nexus", Password: config.NewSecret("s3cret")})
	if err == nil || !strings.Contains(err.Error(), "check username and password") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("refused: %v", err)
	}
	if !strings.HasPrefix(got, "Basic ") {
		t.Errorf("authorization %q", got)
	}
}
