package httpapi

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"portico/core"

	"github.com/gin-gonic/gin"
)

// Extension is a part of the REST surface that belongs to another door. All methods may be called by any number of goroutines.
type Extension interface {
	// Methods are the HTTP methods that are understood at path, nil if nothing is there. path is what follows the extension's name, split at slashes, its parts
	// unescaped: "a%2Fb/c" is "a/b" and "c".
	Methods(path []string) []string
	// Serve answers a request whose method is one of Methods. bus is the bus of whoever asks, body the whole body, at most 4 MiB and three messages long and valid
	// during the call. The answer is told as JSON under status; nil is no body. The error becomes a problem, by its core.Code.
	Serve(bus *core.Bus, path []string, r *http.Request, body []byte) (status int, answer any, err error)
}

// Described is an Extension that tells its operations for the OpenAPI document.
type Described interface {
	// Describe calls tell for each operation. path is what follows the extension's name, names in it as {name}; query has a value of its type for each parameter;
	// request and answer are values of the types of the bodies, nil: none; success are the statuses when all goes well.
	Describe(tell func(method, path, summary string, query map[string]any, request, answer any, success ...int))
}

// mountExtensions adds the routes of the extensions: everything below /v1/NAME is theirs.
func (a *Adapter) mountExtensions(v1 *gin.RouterGroup, extensions map[string]Extension) {
	for _, name := range slices.Sorted(maps.Keys(extensions)) {
		serve := a.serveExtension(extensions[name])
		v1.Any("/"+name, serve)
		v1.Any("/"+name+"/*path", serve)
	}
}

// extensionBody is how large a body for an extension may be: JSON with one message in it, escaped or in base64.
func (a *Adapter) extensionBody() int64 { return 3*a.maxBody + 4*maxControl }

func (a *Adapter) serveExtension(x Extension) gin.HandlerFunc {
	return func(c *gin.Context) {
		path, err := segments(c.Param("path"))
		if err != nil {
			a.fail(c, err)
			return
		}
		switch methods := x.Methods(path); {
		case len(methods) == 0:
			a.fail(c, core.Errorf(core.CodeNotFound, "there is nothing at this path"))
			return
		case !slices.Contains(methods, c.Request.Method):
			c.Header("Allow", strings.Join(methods, ", "))
			a.notAllowed(c)
			return
		}
		body, release, err := a.readBody(c, a.extensionBody())
		if err != nil {
			a.fail(c, err)
			return
		}
		defer release()
		status, answer, err := x.Serve(busOf(c), path, c.Request, body)
		switch {
		case err != nil:
			a.fail(c, err)
		case answer == nil:
			c.Status(status)
			c.Writer.WriteHeaderNow()
		default:
			c.JSON(status, answer)
		}
	}
}

// segments splits an escaped path; each part is unescaped by itself, so that a name may hold slashes.
func segments(path string) ([]string, error) {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, p := range parts {
		part, err := url.PathUnescape(p)
		if err != nil {
			return nil, core.Errorf(core.CodeInvalid, "the path cannot be read at %q", p)
		}
		parts[i] = part
	}
	return parts, nil
}
