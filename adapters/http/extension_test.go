package httpapi_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"portico/core"
	"portico/core/coretest"

	httpapi "portico/adapters/http"
)

// echo is an extension that tells what it was asked.
type echo struct{}

type echoed struct {
	User, Method, Body string
	Path               []string
}

func (echo) Methods(path []string) []string {
	switch path[0] {
	case "things":
		return []string{"GET", "POST"}
	case "failures":
		return []string{"GET"}
	case "nothing":
		return []string{"DELETE"}
	}
	return nil
}

func (echo) Serve(bus *core.Bus, path []string, r *http.Request, body []byte) (int, any, error) {
	switch path[0] {
	case "failures":
		return 0, nil, core.Errorf(core.CodePreconditionFailed, "as it should")
	case "nothing":
		return http.StatusNoContent, nil, nil
	}
	return http.StatusOK, echoed{bus.User(), r.Method, string(body), path}, nil
}

func extended(t *testing.T) *doorway {
	return open(t, httpapi.Config{Extensions: map[string]httpapi.Extension{"echo": echo{}}},
		coretest.Users(core.User{Name: "ann", Password: "secret"}), func(c *core.Config) { c.MaxMessage = 64 << 10 })
}

func TestExtension(t *testing.T) {
	d, ann := extended(t), as("ann", "secret")
	for name, c := range map[string]struct {
		method, path, body string
		want               echoed
	}{
		"name with a slash":   {"GET", "/v1/echo/things/a%2Fb/c", "", echoed{"ann", "GET", "", []string{"things", "a/b", "c"}}},
		"plus, dot and space": {"GET", "/v1/echo/things/a+b/../%20", "", echoed{"ann", "GET", "", []string{"things", "a+b", "..", " "}}},
		"query is not path":   {"GET", "/v1/echo/things?x=1", "", echoed{"ann", "GET", "", []string{"things"}}},
		"slash at the end":    {"GET", "/v1/echo/things/", "", echoed{"ann", "GET", "", []string{"things", ""}}},
		"body":                {"POST", "/v1/echo/things", `{"a":1}`, echoed{"ann", "POST", `{"a":1}`, []string{"things"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := want[echoed](t, d.do(c.method, c.path, c.body, ann), 200)
			if got.User != c.want.User || got.Method != c.want.Method || got.Body != c.want.Body || !slices.Equal(got.Path, c.want.Path) {
				t.Errorf("the extension was asked %+v, want %+v", got, c.want)
			}
		})
	}
	if a := d.do("DELETE", "/v1/echo/nothing", "", ann); a.status != 204 || len(a.body) > 0 {
		t.Errorf("no answer became %d %q, want 204 without a body", a.status, a.body)
	}
}

func TestExtensionRefusals(t *testing.T) {
	d, ann := extended(t), as("ann", "secret")
	large := strings.Repeat("x", 3*64<<10+4<<20)
	for name, c := range map[string]struct {
		method, path, body string
		options            []option
		status             int
		code               core.Code
	}{
		"nobody":             {"GET", "/v1/echo/things", "", nil, 401, core.CodeUnauthenticated},
		"wrong password":     {"GET", "/v1/echo/things", "", []option{as("ann", "guess")}, 401, core.CodeUnauthenticated},
		"nobody at no place": {"GET", "/v1/echo/elsewhere", "", nil, 401, core.CodeUnauthenticated},
		"another origin":     {"POST", "/v1/echo/things", "", []option{ann, with("Sec-Fetch-Site", "cross-site")}, 403, core.CodePermissionDenied},
		"no such place":      {"GET", "/v1/echo/elsewhere", "", []option{ann}, 404, core.CodeNotFound},
		"the extension":      {"GET", "/v1/echo", "", []option{ann}, 404, core.CodeNotFound},
		"no such extension":  {"GET", "/v1/amqp/things", "", []option{ann}, 404, core.CodeNotFound},
		"method":             {"PUT", "/v1/echo/things", "", []option{ann}, 405, core.CodeInvalid},
		"unheard-of method":  {"BREW", "/v1/echo/things", "", []option{ann}, 405, core.CodeInvalid},
		"its own error":      {"GET", "/v1/echo/failures", "", []option{ann}, 409, core.CodePreconditionFailed},
		"too large":          {"POST", "/v1/echo/things", large + "x", []option{ann}, 413, core.CodeTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			a := d.do(c.method, c.path, c.body, c.options...)
			refused(t, a, c.status, c.code)
			if name == "method" && a.header.Get("Allow") != "GET, POST" {
				t.Errorf("Allow is %q", a.header.Get("Allow"))
			}
		})
	}
	if got := want[echoed](t, d.do("POST", "/v1/echo/things", large, ann), 200); len(got.Body) != len(large) {
		t.Errorf("%d bytes of body came, want %d", len(got.Body), len(large))
	}
}
