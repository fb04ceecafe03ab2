package kafkatest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Guarded is a Kafka with a second door: TLS, SASL (SCRAM-SHA-512), and behind it only the rights that ACLs give. Who
// comes by Addrs may do everything.
type Guarded struct {
	*Cluster
	Door   string // host:port
	CAFile string // vouches for the door's certificate
	Admin  *kadm.Client
}

// Guard starts a guarded Kafka of one broker for this test alone.
func Guard(t testing.TB) *Guarded {
	t.Helper()
	a := NewAuthority(t)
	// The authorizer tells what it decides on whom, and why: see Verdicts.
	c := dedicated(t, "KAFKA_GUARD="+a.KeyFile, "KAFKA_OPTS=-XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.log.kafka.authorizer.logger=debug")
	door, err := os.ReadFile(filepath.Join(c.server.Dir, "guarded"))
	if err != nil {
		t.Fatal(err)
	}
	return &Guarded{Cluster: c, Door: strings.TrimSpace(string(door)), CAFile: a.CAFile, Admin: kadm.NewClient(c.Client(t))}
}

// User makes a user, who has no rights yet.
func (g *Guarded) User(t testing.TB, name, password string) {
	t.Helper()
	altered, err := g.Admin.AlterUserSCRAMs(t.Context(), nil, []kadm.UpsertSCRAM{{User: name, Mechanism: kadm.ScramSha512, Iterations: 4096, Password: password}})
	if err == nil {
		err = altered.Error()
	}
	if err != nil {
		t.Fatalf("making the user %s: %v", name, err)
	}
}

// Verdict is one of the authorizer on a request.
type Verdict struct {
	User      string
	Allowed   bool
	Operation string // DESCRIBE_CONFIGS
	Resource  string // TOPIC, GROUP, CLUSTER, TRANSACTIONAL_ID
	Name      string // of the resource
	Request   string // for which it was needed
}

var verdict = regexp.MustCompile(`Principal = User:(\S+) is (Allowed|Denied) operation = (\w+) from host = \S+ on resource = (\w+):LITERAL:(\S+) for request = (\w+) `)

// Verdicts are what the authorizer has decided so far on those who came through the door, each once.
func (g *Guarded) Verdicts(t testing.TB) map[Verdict]bool {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(g.server.Dir, "kafka-1.out"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[Verdict]bool{}
	for _, m := range verdict.FindAllStringSubmatch(string(log), -1) {
		if m[1] != "ANONYMOUS" {
			resource := strings.ToUpper(strings.ReplaceAll(m[4], "lI", "l_I")) // TransactionalId
			all[Verdict{m[1], m[2] == "Allowed", m[3], resource, m[5], m[6]}] = true
		}
	}
	return all
}

func (v Verdict) String() string {
	return fmt.Sprintf("%s %s on %s %s for %s", v.User, v.Operation, v.Resource, v.Name, v.Request)
}

// Authority is a certificate for 127.0.0.1 that vouches for itself.
type Authority struct {
	Certificate tls.Certificate
	CAFile      string // PEM, the certificate alone
	KeyFile     string // PEM, key and certificate
}

// NewAuthority makes one that is good for an hour.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "nexus-test"}, // Java wants a name
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	a := &Authority{
		Certificate: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		CAFile:      filepath.Join(dir, "ca.pem"), KeyFile: filepath.Join(dir, "key.pem"),
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for file, text := range map[string][]byte{a.CAFile: cert, a.KeyFile: append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), cert...)} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return a
}
