package source

import "slices"

// connector is a package that opens connections: by the names it lists, or by
// all it exports where it lists none.
type connector struct {
	kind  string
	names []string
	// handed are types whose values somebody else has connected. Our own code
	// that takes one is a finding; another module that does may never get one.
	handed []string
}

func (c connector) has(name string) bool { return c.opens(name) || slices.Contains(c.handed, name) }

func (c connector) opens(name string) bool { return c.names == nil || slices.Contains(c.names, name) }

// connectors are the packages whose use is a finding at the place of the use.
// A package of another module that is not among them is found by what it
// refers to: see others.
var connectors = map[string]connector{
	"net":                              {kind: "network", names: []string{"Dial", "DialTimeout", "DialTCP", "DialUDP", "DialUnix", "DialIP", "Dialer", "ListenPacket", "ListenUDP", "ListenUnixgram", "ListenIP", "ListenMulticastUDP", "ListenConfig.ListenPacket", "FileConn", "FilePacketConn", "Resolver", "DefaultResolver", "LookupHost", "LookupAddr", "LookupIP", "LookupCNAME", "LookupMX", "LookupNS", "LookupSRV", "LookupTXT"}},
	"crypto/tls":                       {kind: "network", names: []string{"Dial", "DialWithDialer", "Dialer", "Client"}},
	"net/textproto":                    {kind: "network", names: []string{"Dial"}},
	"syscall":                          {kind: "network", names: []string{"Socket", "Connect", "Sendto", "Sendmsg", "Syscall", "Syscall6", "RawSyscall", "RawSyscall6"}},
	"golang.org/x/sys/unix":            {kind: "network", names: []string{"Socket", "Connect", "Sendto", "Sendmsg", "Syscall", "Syscall6", "RawSyscall", "RawSyscall6"}},
	"golang.org/x/crypto/ssh":          {kind: "network", names: []string{"Dial", "NewClient", "NewClientConn"}},
	"log/syslog":                       {kind: "network", names: []string{"Dial", "New", "NewLogger"}},
	"net/http":                         {kind: "http", names: []string{"Get", "Head", "Post", "PostForm", "Client", "DefaultClient", "Transport", "DefaultTransport"}, handed: []string{"RoundTripper"}},
	"net/http/httptest":                {kind: "http", names: []string{"NewServer", "NewTLSServer", "NewUnstartedServer", "Server"}}, // whose Client is one
	"net/http/httputil":                {kind: "http", names: []string{"ReverseProxy", "NewSingleHostReverseProxy", "NewClientConn", "NewProxyClientConn"}, handed: []string{"ClientConn"}},
	"github.com/go-resty/resty/v2":     {kind: "http"},
	"github.com/valyala/fasthttp":      {kind: "http", names: []string{"Get", "Post", "Do", "Client", "HostClient", "PipelineClient", "Dial"}},
	"github.com/gorilla/websocket":     {kind: "http", names: []string{"Dialer", "DefaultDialer", "NewClient"}},
	"golang.org/x/net/http2":           {kind: "http", names: []string{"Transport"}, handed: []string{"ClientConn"}},
	"net/rpc":                          {kind: "rpc", names: []string{"Dial", "DialHTTP", "DialHTTPPath", "NewClient", "NewClientWithCodec", "Client"}},
	"net/rpc/jsonrpc":                  {kind: "rpc", names: []string{"Dial", "NewClient", "NewClientCodec"}},
	"google.golang.org/grpc":           {kind: "rpc", names: []string{"Dial", "DialContext", "NewClient"}, handed: []string{"ClientConn", "ClientConnInterface"}},
	"connectrpc.com/connect":           {kind: "rpc", names: []string{"NewClient", "Client"}},
	"database/sql":                     {kind: "database", names: []string{"Open", "OpenDB"}, handed: []string{"DB", "Conn", "Tx", "Stmt"}},
	"database/sql/driver":              {kind: "database", names: []string{}, handed: []string{"Driver", "DriverContext", "Connector", "Conn"}},
	"github.com/jackc/pgx/v5":          {kind: "database"},
	"github.com/redis/go-redis/v9":     {kind: "database"},
	"gorm.io/gorm":                     {kind: "database", names: []string{"Open"}, handed: []string{"DB"}},
	"github.com/jmoiron/sqlx":          {kind: "database"},
	"github.com/twmb/franz-go/pkg/kgo": {kind: "broker", names: []string{"NewClient", "NewGroupTransactSession"}, handed: []string{"Client", "GroupTransactSession"}},
	"github.com/IBM/sarama":            {kind: "broker"},
	"github.com/segmentio/kafka-go":    {kind: "broker"},
	"github.com/confluentinc/confluent-kafka-go/v2/kafka": {kind: "broker"},
	"github.com/nats-io/nats.go":                          {kind: "broker"},
	"github.com/rabbitmq/amqp091-go":                      {kind: "broker"},
	"net/smtp":                                            {kind: "mail"},
}

// impure are what a fold may not refer to: what differs from run to run, or
// reaches outside. Packages without names are impure as a whole. Connectors
// are impure, too.
var impure = map[string][]string{
	"time":         {"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Local", "Time.Local", "LoadLocation"},
	"math/rand":    globalRand,
	"math/rand/v2": globalRand,
	"hash/maphash": nil,
	"flag":         nil,
	"crypto/rand":  nil,
	"os":           nil,
	"os/exec":      nil,
	"os/signal":    nil,
	"io/ioutil":    nil,
	"net":          {"Listen", "Interfaces"},
	"log":          nil,
	"log/slog":     {"Debug", "Info", "Warn", "Error", "Log", "LogAttrs", "Default", "Logger", "DebugContext", "InfoContext", "WarnContext", "ErrorContext"},
	"fmt":          {"Print", "Println", "Printf", "Scan", "Scanln", "Scanf"},
	"sync":         nil,
	"sync/atomic":  nil,
	"runtime":      {"NumGoroutine", "NumCPU", "GOMAXPROCS", "Gosched", "ReadMemStats"},
	"github.com/google/uuid": {
		"New", "NewString", "NewRandom", "NewUUID", "NewV6", "NewV7", "Must", "NewRandomFromReader", "NewV7FromReader",
	},
}

// globalRand are the generators that nobody has seeded: one that is made of the
// event, rand.New(rand.NewPCG(event.Seed, 1)), gives the same numbers again.
var globalRand = []string{
	"Int", "Intn", "IntN", "Int31", "Int31n", "Int32", "Int32N", "Int63", "Int63n", "Int64", "Int64N",
	"Uint", "UintN", "Uint32", "Uint32N", "Uint64", "Uint64N", "Float32", "Float64", "NormFloat64", "ExpFloat64",
	"N", "Perm", "Shuffle", "Read", "Seed",
}

// blinders are imports behind which code goes on that is not Go source.
var blinders = map[string]string{
	"C":       "calls C code",
	"plugin":  "loads code at run time",
	"os/exec": "runs other programs",
}

// blindNames are names behind which it does.
var blindNames = map[string]map[string]string{
	"os":                    {"StartProcess": "runs other programs"},
	"syscall":               syscallBlinders,
	"golang.org/x/sys/unix": syscallBlinders,
	"net/http/cgi":          {"Handler": "runs other programs"},
	"unsafe":                {"Pointer": "takes memory for what the compiler does not know"},
}

var syscallBlinders = map[string]string{
	"Exec": "runs other programs", "ForkExec": "runs other programs", "StartProcess": "runs other programs",
	"SYS_EXECVE": "runs other programs", "SYS_EXECVEAT": "runs other programs",
}
