// Package security asks every door who may come in and what for, with every kind of credential, with and without TLS; and looks for what must not be
// written down.
package security

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/test/gateway"

	"go.uber.org/goleak"
)

// patience is how long anything may take that must happen.
const patience = 20 * time.Second

// builtProgram is the gateway, built once for all tests. SECURITY_GATEWAY names one that has been built already.
type builtProgram struct {
	once sync.Once
	dir  string
	path string
	err  error
}

func (b *builtProgram) build() {
	if b.path = os.Getenv("SECURITY_GATEWAY"); b.path != "" {
		return
	}
	if b.dir, b.err = os.MkdirTemp("", "portico-security-"); b.err != nil {
		return
	}
	b.path = filepath.Join(b.dir, "gateway")
	if out, err := exec.Command("go", "build", "-o", b.path, "portico/cmd/gateway").CombinedOutput(); err != nil {
		b.err = fmt.Errorf("build the gateway: %w\n%s", err, out)
	}
}

var built builtProgram

func TestMain(m *testing.M) {
	flag.Parse()
	status := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	if err := goleak.Find(); err != nil && status == 0 {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

// site is a running gateway: host:port of every door.
type site struct {
	*gateway.Gateway
	at     map[string]string
	secure bool // TLS everywhere
}

// start runs the gateway with a configuration file in a folder of its own.
func start(t *testing.T, config string, args ...string) *site {
	t.Helper()
	if testing.Short() {
		t.Skip("starts the gateway")
	}
	built.once.Do(built.build)
	must(t, built.err)
	if config != "" {
		path := filepath.Join(t.TempDir(), "portico.yaml")
		must(t, os.WriteFile(path, []byte(config), 0o600))
		args = append([]string{"--config", path}, args...)
	}
	s := &site{Gateway: gateway.Run(t, exec.Command(built.path, args...)), at: map[string]string{}}
	for door, address := range s.Doors {
		s.secure = s.secure || strings.HasPrefix(address, "https://")
		_, rest, there := strings.Cut(address, "://")
		if !there {
			rest = address
		}
		if _, after, there := strings.Cut(rest, "@"); there {
			rest = after
		}
		s.at[door], _, _ = strings.Cut(rest, "/")
	}
	return s
}

// shown is what a client shows.
type shown struct {
	user, password string // neither: nothing
	token          string // in the place that the protocol has for one, else as the password
	tls            *tls.Config
	external       bool // the certificate is the credential
	alone          bool // nobody is where it is who could answer
}

func (w shown) nothing() bool { return w.user == "" && w.password == "" && w.token == "" }

// secret is the token or the password.
func (w shown) secret() string {
	if w.token != "" {
		return w.token
	}
	return w.password
}

// refusal is how a protocol has said no, in its own words.
type refusal string

// Error implements error.
func (r refusal) Error() string { return string(r) }

// errNotThere is for what a protocol has no words for.
var errNotThere = errors.New("–")

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}
