package gateway

import (
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/nexusblueprint/nexus/domain"
)

// pathSegment is a decoded segment of the path. The router matches the path as
// it was sent, so a segment may hold any character, the slash included.
func pathSegment(c *gin.Context, name string) (string, *problem) {
	raw := c.Param(name)
	segment, err := url.PathUnescape(raw)
	if err != nil {
		return "", problemf(codeInvalidID, "the path segment %q is not percent-encoded properly", clip(raw))
	}
	return segment, nil
}

// pathID is a decoded segment that must be an id.
func pathID(c *gin.Context) (string, *problem) {
	id, no := pathSegment(c, "id")
	if no != nil {
		return "", no
	}
	if faults := domain.ValidID(id); len(faults) > 0 {
		return "", faulty(codeInvalidID, faults...)
	}
	return id, nil
}

// escapePointer makes a name a reference token of a JSON pointer (RFC 6901).
func escapePointer(name string) string { return pointerEscapes.Replace(name) }

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")
