package source

import "slices"

// connector is a package that opens connections: by the names it lists, or by
// all it exports where it lists none.
type connector struct {
	kind  string
	names []string
}

func (c connector) has(name string) bool { return c.names == nil || slices.Contains(c.names, name) }

// connectors are the packages whose use is a finding at the place of the use.
// A package of another module that is not among them is found by what it
// refers to: see others.
var connectors = map[string]connector{
	"net":                     {"network", []string{"Dial", "DialTimeout", "DialTCP", "DialUDP", "DialUnix", "DialIP", "Dialer"}},
	"crypto/tls":              {"network", []string{"Dial", "DialWithDialer", "Dialer", "Client"}},
	"net/textproto":           {"network", []string{"Dial"}},
	"syscall":                 {"network", []string{"Connect"}},
	"golang.org/x/sys/unix":   {"network", []string{"Connect"}},
	"golang.org/x/crypto/ssh": {"network", []string{"Dial", "NewClient", "NewClientConn"}},
	"log/syslog":              {"network", []string{"Dial"}},
	"net/http": {"http", []string{
		"Get", "Head", "Post", "PostForm", "Client", "DefaultClient", "Transport", "DefaultTransport", "RoundTripper",
	}},
	"net/http/httputil":              {"http", []string{"ReverseProxy", "NewSingleHostReverseProxy", "NewClientConn", "NewProxyClientConn", "ClientConn"}},
	"github.com/go-resty/resty/v2":   {"http", nil},
	"github.com/valyala/fasthttp":    {"http", []string{"Get", "Post", "Do", "Client", "HostClient", "PipelineClient", "Dial"}},
	"github.com/gorilla/websocket":   {"http", []string{"Dialer", "DefaultDialer", "NewClient"}},
	"golang.org/x/net/http2":         {"http", []string{"Transport", "ClientConn"}},
	"net/rpc":                        {"rpc", []string{"Dial", "DialHTTP", "DialHTTPPath", "NewClient", "NewClientWithCodec", "Client"}},
	"net/rpc/jsonrpc":                {"rpc", []string{"Dial", "NewClient", "NewClientCodec"}},
	"google.golang.org/grpc":         {"rpc", []string{"Dial", "DialContext", "NewClient", "ClientConn", "ClientConnInterface"}},
	"connectrpc.com/connect":         {"rpc", []string{"NewClient", "Client"}},
	"database/sql":                   {"database", []string{"Open", "OpenDB", "DB", "Conn"}},
	"github.com/jackc/pgx/v5":        {"database", nil},
	"github.com/redis/go-redis/v9":   {"database", nil},
	"gorm.io/gorm":                   {"database", []string{"Open", "DB"}},
	"github.com/jmoiron/sqlx":        {"database", nil},
	"go.mongodb.org/mongo-driver/v2": {"database", nil},
	"github.com/twmb/franz-go/pkg/kgo": {"broker", []string{
		"NewClient", "NewGroupTransactSession", "Client", "GroupTransactSession",
	}},
	"github.com/IBM/sarama":                               {"broker", nil},
	"github.com/segmentio/kafka-go":                       {"broker", nil},
	"github.com/confluentinc/confluent-kafka-go/v2/kafka": {"broker", nil},
	"github.com/nats-io/nats.go":                          {"broker", nil},
	"github.com/rabbitmq/amqp091-go":                      {"broker", nil},
	"net/smtp":                                            {"mail", nil},
}

// impure are what a fold may not refer to: what differs from run to run, or
// reaches outside. Packages without names are impure as a whole. Connectors
// are impure, too.
var impure = map[string][]string{
	"time":         {"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Local", "LoadLocation"},
	"math/rand":    nil,
	"math/rand/v2": nil,
	"crypto/rand":  nil,
	"os":           nil,
	"os/exec":      nil,
	"os/signal":    nil,
	"io/ioutil":    nil,
	"net":          {"LookupHost", "LookupAddr", "LookupIP", "LookupCNAME", "Listen", "Resolver", "DefaultResolver", "Interfaces"},
	"log":          nil,
	"log/slog":     {"Debug", "Info", "Warn", "Error", "Log", "Default", "DebugContext", "InfoContext", "WarnContext", "ErrorContext"},
	"fmt":          {"Print", "Println", "Printf", "Scan", "Scanln", "Scanf"},
	"sync":         nil,
	"sync/atomic":  nil,
	"runtime":      {"NumGoroutine", "NumCPU", "GOMAXPROCS", "Gosched", "ReadMemStats"},
	"github.com/google/uuid": {
		"New", "NewString", "NewRandom", "NewUUID", "NewV6", "NewV7", "Must", "NewRandomFromReader", "NewV7FromReader",
	},
}

// blinders are imports behind which code goes on that is not Go source.
var blinders = map[string]string{
	"C":       "calls C code",
	"plugin":  "loads code at run time",
	"os/exec": "runs other programs",
}
