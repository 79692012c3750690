package security

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/core/certs/certstest"

	"github.com/gorilla/websocket"
)

// pki is an authority with one below it that signs, a stranger, and the files of the gateway.
type pki struct {
	dir                                string
	root, middle, other                *certstest.Authority
	server                             certstest.Pair
	good, stranger, sacked, late, none certstest.Pair
}

func newPKI(t *testing.T) *pki {
	t.Helper()
	hour := time.Now().Add(time.Hour)
	p := &pki{dir: t.TempDir(), root: certstest.NewAuthority(t, "root"), other: certstest.NewAuthority(t, "other")}
	p.middle = p.root.Under(t, "middle")
	p.server = p.middle.Server(t, hour)
	p.good, p.sacked, p.late = p.middle.Client(t, "ann", hour), p.middle.Client(t, "ann", hour), p.middle.Client(t, "ann", time.Now().Add(-time.Minute))
	p.stranger = p.other.Client(t, "ann", hour)
	certstest.Write(t, p.dir, "cert.pem", p.server.Cert)
	certstest.Write(t, p.dir, "key.pem", p.server.Key)
	certstest.Write(t, p.dir, "ca.pem", p.root.PEM)
	certstest.Write(t, p.dir, "crl.pem", p.middle.CRL(t, hour, p.sacked), p.root.CRL(t, hour))
	return p
}

// config is a configuration file with these files; auth is tls.client_auth.
func (p *pki) config(auth string) string {
	at := func(name string) string { return filepath.Join(p.dir, name) }
	return fmt.Sprintf("tls: {cert: %q, key: %q, client_ca: %q, crl: %q, client_auth: %s}\nusers:\n- {name: ann, password: correct-horse}\n- {name: bob, password: battery-staple}\n",
		at("cert.pem"), at("key.pem"), at("ca.pem"), at("crl.pem"), auth)
}

// client is the TLS of a client that believes the root and shows a certificate, or none.
func (p *pki) client(shown certstest.Pair) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(p.root.Cert)
	c := &tls.Config{RootCAs: roots, ServerName: "localhost"}
	if shown.Cert != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &shown.TLS, nil }
	}
	return c
}

// enter goes in at a door and publishes: with TLS 1.3 a client hears only then that its certificate is not good.
func enter(t *testing.T, s *site, visit func(*testing.T, *site, shown) (visitor, error), w shown) error {
	v, err := visit(t, s, w)
	if err != nil {
		return err
	}
	defer v.close()
	return v.publish()
}

// TestClientCertificates: at every door, with mutual TLS, a chain through an authority in between is let in, and nobody else.
func TestClientCertificates(t *testing.T) {
	p := newPKI(t)
	s := start(t, p.config("require"))
	for _, door := range doors {
		for name, c := range map[string]struct {
			shown certstest.Pair
			in    bool
		}{
			"chain": {p.good, true}, "no certificate": {p.none, false}, "wrong CA": {p.stranger, false}, "revoked": {p.sacked, false}, "expired": {p.late, false},
		} {
			t.Run(door.name+"/"+name, func(t *testing.T) {
				err := enter(t, s, door.visit, shown{user: "bob", password: "battery-staple", tls: p.client(c.shown)})
				if c.in && err != nil {
					t.Errorf("refused: %v", err)
				}
				if !c.in && err == nil {
					t.Error("let in")
				}
				if _, said := errors.AsType[refusal](err); said {
					t.Errorf("refused with %q, want the handshake to fail", err)
				}
			})
		}
		t.Run(door.name+"/plain", func(t *testing.T) {
			if err := enter(t, s, door.visit, shown{user: "bob", password: "battery-staple"}); err == nil {
				t.Error("let in without TLS")
			}
		})
	}
}

// TestCertificateAsCredential: who shows a certificate and nothing else is the user whose name stands in it.
func TestCertificateAsCredential(t *testing.T) {
	p := newPKI(t)
	s := start(t, p.config("request"))
	for _, door := range doors {
		t.Run(door.name, func(t *testing.T) {
			if err := enter(t, s, door.visit, shown{external: true, tls: p.client(p.good)}); err != nil {
				t.Errorf("by certificate: %v", err)
			}
			if err := enter(t, s, door.visit, shown{user: "bob", password: "battery-staple", tls: p.client(p.none)}); err != nil {
				t.Errorf("by password: %v", err)
			}
			err := enter(t, s, door.visit, shown{external: true, tls: p.client(p.none)})
			if _, said := errors.AsType[refusal](err); !said && door.name != "AMQP" { // which has no such mechanism then
				t.Errorf("by nothing: %v, want a refusal", err)
			}
			if err == nil {
				t.Error("let in without anything")
			}
		})
	}
}

// TestModes: optional takes both on one port, off takes no TLS.
func TestModes(t *testing.T) {
	p := newPKI(t)
	var optional []string
	for _, door := range []string{"http", "grpc", "amqp", "nats", "mqtt", "stomp"} {
		optional = append(optional, "--"+door+"-tls", "optional")
	}
	s := start(t, p.config("none"), optional...)
	for _, door := range doors {
		for name, config := range map[string]*tls.Config{"plain": nil, "TLS": p.client(p.none)} {
			if err := enter(t, s, door.visit, shown{user: "bob", password: "battery-staple", tls: config}); err != nil {
				t.Errorf("%s, %s: %v", door.name, name, err)
			}
		}
	}
}

// TestReload: a certificate that is replaced is shown to those who come, a bad one is not, and those who are in stay in.
func TestReload(t *testing.T) {
	p := newPKI(t)
	s := start(t, p.config("none"))
	w := shown{user: "bob", password: "battery-staple", tls: p.client(p.none)}
	in := map[string]visitor{}
	for _, door := range doors {
		v, err := door.visit(t, s, w)
		if err != nil {
			t.Fatalf("%s: %v", door.name, err)
		}
		in[door.name] = v
	}
	certstest.Write(t, p.dir, "cert.pem", []byte("not a certificate"))
	await(t, func() error {
		if !strings.Contains(s.Log(), "new TLS files are refused") {
			return errors.New("the bad file was not told")
		}
		return nil
	})
	next := p.other.Server(t, time.Now().Add(time.Hour))
	certstest.Write(t, p.dir, "key.pem", next.Key)
	certstest.Write(t, p.dir, "cert.pem", next.Cert)
	old := w
	roots := x509.NewCertPool()
	roots.AddCert(p.other.Cert)
	w.tls = &tls.Config{RootCAs: roots, ServerName: "localhost"}
	for _, door := range doors {
		await(t, func() error { return enter(t, s, door.visit, w) })
		if err := enter(t, s, door.visit, old); err == nil {
			t.Errorf("%s shows the old certificate still", door.name)
		}
		if err := in[door.name].publish(); err != nil {
			t.Errorf("%s: who was in cannot publish any more: %v", door.name, err)
		}
	}
}

// TestSelfSigned: one key makes a certificate for development, and the gateway tells where it is.
func TestSelfSigned(t *testing.T) {
	s := start(t, "users:\n- {name: bob, password: battery-staple}\n", "--tls-self-signed", "true")
	pem, err := os.ReadFile(filepath.Join(s.Dir, "tls", "self-signed.pem"))
	must(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	for _, door := range doors {
		if err := enter(t, s, door.visit, shown{user: "bob", password: "battery-staple", tls: &tls.Config{RootCAs: roots, ServerName: "localhost"}}); err != nil {
			t.Errorf("%s: %v", door.name, err)
		}
	}
	if _, cert, there := strings.Cut(s.Try["HTTP"], "--cacert "); !there || !strings.HasPrefix(cert, filepath.Join(s.Dir, "tls")) {
		t.Errorf("the gateway says to try %q", s.Try["HTTP"])
	}
}

// TestSilentHandshakes: whoever opens a TLS connection and says nothing, or half of something, is cut at every door.
func TestSilentHandshakes(t *testing.T) {
	if os.Getenv("E2E") != "long" {
		t.Skip("takes ten seconds; E2E=long")
	}
	p := newPKI(t)
	for _, mode := range []string{"required", "optional"} {
		var args []string
		for _, door := range []string{"http", "grpc", "amqp", "nats", "mqtt", "stomp"} {
			args = append(args, "--"+door+"-tls", mode)
		}
		s := start(t, p.config("request"), args...)
		var all sync.WaitGroup
		for _, door := range []string{"HTTP", "STOMP", "gRPC", "AMQP", "NATS", "MQTT"} {
			for _, begun := range []string{"", "\x16\x03\x01\x02\x00\x01"} {
				all.Go(func() {
					conn, err := dial(s.at[door])
					if err != nil {
						t.Error(err)
						return
					}
					defer conn.Close()
					_, _ = io.WriteString(conn, begun)
					if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("%s (%s), after %q: not cut within %v", door, mode, begun, patience)
					}
				})
			}
		}
		all.Wait()
	}
}

// TestTunnels: the gateway's own connections to its NATS and MQTT doors need no certificate, although everybody else does.
func TestTunnels(t *testing.T) {
	p := newPKI(t)
	s := start(t, p.config("require"))
	for name, c := range map[string]struct{ protocol, send, want string }{
		"MQTT": {"mqtt", "\x10\x26\x00\x04MQTT\x04\xc2\x00\x3c\x00\x05alive\x00\x03bob\x00\x0ebattery-staple", "\x20\x02\x00\x00"},
		"NATS": {"", "CONNECT {\"verbose\":true,\"user\":\"bob\",\"pass\":\"battery-staple\"}\r\n", "+OK\r\n"},
	} {
		d := websocket.Dialer{HandshakeTimeout: patience, TLSClientConfig: p.client(p.good)}
		path := "/ws"
		if c.protocol != "" {
			d.Subprotocols = []string{c.protocol}
		} else {
			path = "/nats"
		}
		conn, resp, err := d.DialContext(within(t), "wss://"+s.at["HTTP"]+path, nil)
		if err != nil {
			t.Errorf("%s: %v %v", name, err, resp)
			continue
		}
		defer conn.Close()
		must(t, conn.SetReadDeadline(time.Now().Add(patience)))
		must(t, conn.WriteMessage(websocket.BinaryMessage, []byte(c.send)))
		got := ""
		for !strings.Contains(got, c.want) {
			_, part, err := conn.ReadMessage()
			if err != nil {
				t.Errorf("%s: after %q: %v", name, got, err)
				break
			}
			got += string(part)
		}
	}
}

// await waits until check returns nil.
func await(t *testing.T, check func() error) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	over := time.After(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-over:
			t.Fatalf("not within %v: %v", patience, err)
		}
	}
}
