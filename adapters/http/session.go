package httpapi

import (
	"context"
	"crypto/subtle"
	"net"
	"net/http"
	"strings"
	"sync"

	"portico/core"
	"portico/core/certs"

	"github.com/gin-gonic/gin"
)

// session remembers the last login of one connection, so that a client that keeps its connection is not checked (with a
// password hash made to be slow) on every request.
type session struct {
	mu    sync.Mutex // guards the rest; requests of an HTTP/1.1 connection come one by one, but net/http does not promise it
	bus   *core.Bus
	shown core.Credentials
}

// tenantHeader says which tenant a request is for; without it that is the identity's own.
const tenantHeader = "Portico-Tenant"

type sessionKey struct{}

// withSession is the server's ConnContext.
func withSession(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, sessionKey{}, new(session))
}

// login is the middleware in front of /v1: it puts the identity's bus where busOf finds it, or answers 401.
func (a *Adapter) login(c *gin.Context) {
	shown, err := credentials(c.Request)
	if err != nil {
		a.fail(c, err)
		return
	}
	s, ok := c.Request.Context().Value(sessionKey{}).(*session)
	if !ok {
		s = new(session)
	}
	bus, err := s.login(c.Request.Context(), a.gateway, shown)
	if err != nil {
		a.fail(c, err)
		return
	}
	c.Set(busKey, bus)
	c.Next()
	recordChange(c, bus)
}

// ruling are the paths below which requests change how the gateway is run. Users and tokens are not among them: core writes down their changes itself.
var ruling = [...]string{"/v1/tenants", "/v1/policies", "/v1/amqp/policies", "/v1/amqp/operator-policies", "/v1/config", "/v1/webhooks", "/v1/hooks", "/v1/amqp/connections"}

// recordChange writes such a request down, once it is known what became of it.
func recordChange(c *gin.Context, bus *core.Bus) {
	if c.Request.Method == http.MethodGet || c.Request.Method == http.MethodHead {
		return
	}
	for _, path := range ruling {
		if strings.HasPrefix(c.Request.URL.Path, path) {
			var err error
			if status := c.Writer.Status(); status >= http.StatusBadRequest {
				err = core.Errorf(core.CodeInvalid, "answered %d", status)
			}
			bus.RecordChange(c.Request.Method, c.Request.URL.Path, err)
			return
		}
	}
}

// credentials are those of a request: Basic, or a bearer token, or the connection's certificate, or none. CodeUnauthenticated for other schemes.
func credentials(r *http.Request) (core.Credentials, error) {
	shown := core.Credentials{Door: door, Remote: r.RemoteAddr, Certificate: certs.ClientCertificate(r.TLS), Tenant: r.Header.Get(tenantHeader)}
	if user, password, basic := r.BasicAuth(); basic {
		shown.User, shown.Password = user, password
		return shown, nil
	}
	header := r.Header.Get("Authorization")
	scheme, token, _ := strings.Cut(header, " ")
	switch token = strings.TrimSpace(token); {
	case header == "":
		shown.Anonymous = true
	case strings.EqualFold(scheme, "Bearer") && token != "":
		shown.Token = token
	default:
		return shown, core.Errorf(core.CodeUnauthenticated, "only Basic credentials and Bearer tokens are understood")
	}
	return shown, nil
}

func (s *session) login(ctx context.Context, g *core.Gateway, shown core.Credentials) (*core.Bus, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bus != nil && s.bus.Err() == nil && s.shown.Anonymous == shown.Anonymous && s.shown.Tenant == shown.Tenant && s.shown.User == shown.User && same(s.shown.Password, shown.Password) && same(s.shown.Token, shown.Token) {
		return s.bus, nil
	}
	bus, err := g.Login(ctx, shown)
	if err != nil && core.AsError(err).Code == core.CodeNotFound { // whether there is such a tenant is nobody's business
		return nil, core.Errorf(core.CodePermissionDenied, "tenant %q is not for %q", shown.Tenant, shown.User)
	}
	if err != nil {
		return nil, err
	}
	s.bus, s.shown = bus, shown
	return bus, nil
}

// same compares secrets.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

const busKey = "bus"

// busOf returns the bus that login found; it is there behind that middleware.
func busOf(c *gin.Context) *core.Bus { return c.MustGet(busKey).(*core.Bus) }
