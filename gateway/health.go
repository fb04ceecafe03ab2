package gateway

import (
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"
)

// getHealth is GET /healthz: the process answers.
func (g *Gateway) getHealth(c *gin.Context) { answer(c, http.StatusOK, []byte(`{"ok":true}`)) }

// getReady is GET /readyz: 200 once every check is passed and while the server
// takes new requests.
func (g *Gateway) getReady(c *gin.Context) {
	ready := true
	body := []byte(`,"checks":[`)
	add := func(name string, ok bool, detail string) {
		if body[len(body)-1] == '}' {
			body = append(body, ',')
		}
		ready = ready && ok
		body = appendText(append(body, `{"name":`...), name)
		body = strconv.AppendBool(append(body, `,"ok":`...), ok)
		body = append(appendText(append(body, `,"detail":`...), detail), '}')
	}
	if g.draining.Load() {
		add("serving", false, "the server is shutting down")
	} else {
		add("serving", true, "")
	}
	for _, check := range g.checks {
		add(check())
	}
	status := http.StatusOK
	if !ready {
		status = http.StatusServiceUnavailable
	}
	head := strconv.AppendBool([]byte(`{"ready":`), ready)
	answer(c, status, append(append(head, body...), "]}"...))
}

// getEndpoints is GET /api/admin/endpoints.
func (g *Gateway) getEndpoints(c *gin.Context) {
	answer(c, http.StatusOK, g.endpoints[:len(g.endpoints):len(g.endpoints)])
}

func (e Endpoints) json() []byte {
	b := appendText([]byte(`{"api":`), e.API)
	b = appendText(append(b, `,"bus":`...), e.Bus)
	b = appendText(append(b, `,"registry":`...), e.Registry)
	return append(b, '}')
}

// getOpenAPI is GET /api/openapi.json.
func (g *Gateway) getOpenAPI(c *gin.Context) { c.Data(http.StatusOK, "application/json", g.openAPI) }
