package identity

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Bounds of what is looked at, in bytes.
const (
	MaxName     = 1024
	MaxPassword = 1024
	MaxToken    = 16 << 10
)

// Credentials are what a client showed at a door.
type Credentials struct {
	Door        string // "http", "websocket", "grpc", "amqp", "stomp", "nats", "mqtt"
	Remote      string // the client's address, host:port; "": not known
	User        string
	Password    string            // or a token, at doors that know no other place for one
	Token       string            // a bearer token: one of the gateway's own, or a JSON web token
	Certificate *x509.Certificate // the client's, which the door has verified; nil: none. It is looked at if nothing else is shown
	PublicKey   string            // an NKey of a user ("U…"), whose signature the door has verified
	Anonymous   bool              // neither user nor token was shown
	Tenant      string            // AMQP vhost; "" is "/"
}

// Why a login is refused. What else Login returns is a LockedError or a BadTokenError.
var (
	ErrRefused = errors.New("unknown user or wrong password")
	ErrFar     = errors.New("this user may come in from the gateway's own machine only")
	ErrBusy    = errors.New("too many logins at once")
)

// LockedError refuses a login because too many have failed before.
type LockedError struct{ Wait time.Duration }

// Error implements error.
func (e *LockedError) Error() string {
	return fmt.Sprintf("too many failed logins: try again in %s", max(e.Wait.Round(time.Second), time.Second))
}

// BadTokenError refuses a token. Detail is meant for who showed it; Err is for the log.
type BadTokenError struct {
	Detail string
	Err    error
}

// Error implements error.
func (e *BadTokenError) Error() string { return e.Detail }

// Unwrap returns the cause.
func (e *BadTokenError) Unwrap() error { return e.Err }

func badToken(format string, args ...any) error {
	return &BadTokenError{Detail: fmt.Sprintf(format, args...)}
}

// bearer is the token that was shown, "" if none was: doors without a place for one take it as the password.
func (c *Credentials) bearer() string {
	if c.Token != "" {
		return c.Token
	}
	if strings.HasPrefix(c.Password, TokenPrefix) || looksLikeJWT(c.Password) {
		return c.Password
	}
	return ""
}

// address is where the client is, as far as that is known.
func (c *Credentials) address() (netip.Addr, bool) {
	host, _, err := net.SplitHostPort(c.Remote)
	if err != nil {
		host = c.Remote
	}
	at, err := netip.ParseAddr(host)
	return at.Unmap().WithZone(""), err == nil
}

// far tells whether the client is known to be on another machine.
func (c *Credentials) far() bool {
	at, known := c.address()
	return known && !at.IsLoopback()
}
