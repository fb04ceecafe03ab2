package gateway

import (
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"

	"github.com/gin-gonic/gin"
)

// guard turns a panic into an answer that hides it, and sets the headers that
// every answer has.
func (o *surface) guard(c *gin.Context) {
	h := c.Writer.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if p == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so, too
			panic(p)
		}
		o.log.Error("a request panicked", "method", c.Request.Method, "route", c.FullPath(), "panic", p, "stack", string(debug.Stack()))
		if c.Writer.Written() {
			panic(http.ErrAbortHandler) // the client must not take half an answer for a whole one
		}
		fail(c, problemf(codeInternal, "the request met a defect of the server; it was logged"))
	}()
	c.Next()
}

// hostRule is what Host and Origin may say. A page of another site can make a
// browser call a loopback address (DNS rebinding), but not choose these.
type hostRule struct{ port string }

// loopbackRule is the rule for a listener, nil unless it listens on loopback.
func loopbackRule(addr net.Addr) *hostRule {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsLoopback() {
		return nil
	}
	_, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return nil
	}
	return &hostRule{port: port}
}

func (r *hostRule) allows(hostport string) bool {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		host, port = hostport, "80" // the port that http leaves out
	}
	if port != r.port {
		return false
	}
	switch strings.ToLower(strings.Trim(host, "[]")) {
	case "localhost", "127.0.0.1", "::1":
		return true
	}
	return false
}

func (o *surface) checkHost(c *gin.Context) {
	rule := o.hosts.Load()
	if rule == nil {
		return
	}
	if !rule.allows(c.Request.Host) {
		fail(c, problemf(codeForbiddenHost, "this server answers under localhost, 127.0.0.1 and [::1] with its port, not under %q", clip(c.Request.Host)))
		return
	}
	origins := c.Request.Header.Values("Origin")
	for _, origin := range origins {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme != "http" || !rule.allows(u.Host) {
			fail(c, problemf(codeForbiddenOrigin, "requests of pages of %q are not answered", clip(origin)))
			return
		}
	}
}
