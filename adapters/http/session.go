package httpapi

import (
	"context"
	"crypto/subtle"
	"net"
	"sync"

	"portico/core"

	"github.com/gin-gonic/gin"
)

// session remembers the last login of one connection, so that a client that keeps its connection is not checked (with a
// password hash made to be slow) on every request.
type session struct {
	mu       sync.Mutex // guards the rest; requests of an HTTP/1.1 connection come one by one, but net/http does not promise it
	bus      *core.Bus
	user     string
	password string
	basic    bool
}

type sessionKey struct{}

// withSession is the server's ConnContext.
func withSession(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, sessionKey{}, new(session))
}

// login is the middleware in front of /v1: it puts the identity's bus where busOf finds it, or answers 401.
func (a *Adapter) login(c *gin.Context) {
	user, password, basic := c.Request.BasicAuth()
	if !basic && c.GetHeader("Authorization") != "" {
		a.fail(c, core.Errorf(core.CodeUnauthenticated, "only Basic credentials are understood"))
		return
	}
	s, ok := c.Request.Context().Value(sessionKey{}).(*session)
	if !ok {
		s = new(session)
	}
	bus, err := s.login(c.Request.Context(), a.gateway, core.Credentials{
		Door: door, Remote: c.Request.RemoteAddr, User: user, Password: password, Anonymous: !basic,
	})
	if err != nil {
		a.fail(c, err)
		return
	}
	c.Set(busKey, bus)
}

func (s *session) login(ctx context.Context, g *core.Gateway, who core.Credentials) (*core.Bus, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bus != nil && s.basic == !who.Anonymous && s.user == who.User &&
		subtle.ConstantTimeCompare([]byte(s.password), []byte(who.Password)) == 1 {
		return s.bus, nil
	}
	bus, err := g.Login(ctx, who)
	if err != nil {
		return nil, err
	}
	s.bus, s.basic, s.user, s.password = bus, !who.Anonymous, who.User, who.Password
	return bus, nil
}

const busKey = "bus"

// busOf returns the bus that login found; it is there behind that middleware.
func busOf(c *gin.Context) *core.Bus { return c.MustGet(busKey).(*core.Bus) }
