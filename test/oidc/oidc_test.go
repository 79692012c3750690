// Package oidc gets tokens from an OpenID Connect provider, and comes in by them at every door.
package oidc

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/test/gateway"

	oidclib "github.com/coreos/go-oidc/v3/oidc"
	"github.com/nats-io/nats.go"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// issuer is a running provider: tools/issuer.
type issuer struct{ url string }

// built is the provider's program, which all tests share.
var built = sync.OnceValues(func() (program string, err error) {
	dir, err := os.MkdirTemp("", "portico-oidc")
	if err != nil {
		return "", err
	}
	program = filepath.Join(dir, "issuer")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = filepath.Join("..", "..", "tools", "issuer")
	if out, err := build.CombinedOutput(); err != nil {
		return program, fmt.Errorf("build the provider: %w\n%s", err, out)
	}
	return program, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if program, _ := built(); program != "" {
		_ = os.RemoveAll(filepath.Dir(program))
	}
	os.Exit(code)
}

// startIssuer runs the provider until the test ends. Where Go cannot fetch its modules the test is skipped, but never with CI=true.
func startIssuer(t *testing.T, config map[string]any) *issuer {
	t.Helper()
	program, err := built()
	switch {
	case err != nil && os.Getenv("CI") == "true":
		t.Fatal(err)
	case err != nil:
		t.Skip(err)
	}
	text, err := json.Marshal(config)
	check(t, err)
	run := exec.Command(program, string(text))
	stdin, err := run.StdinPipe()
	check(t, err)
	stdout, err := run.StdoutPipe()
	check(t, err)
	run.Stderr = os.Stderr
	check(t, run.Start())
	t.Cleanup(func() {
		stdin.Close()
		_ = run.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	check(t, err)
	return &issuer{strings.TrimSpace(line)}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (i *issuer) tell(t *testing.T, path string) {
	t.Helper()
	resp, err := http.Post(i.url+path, "", nil)
	check(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d", path, resp.StatusCode)
	}
}

// token gets one by the client's own credentials.
func (i *issuer) token(t *testing.T, id string, scopes ...string) string {
	t.Helper()
	c := clientcredentials.Config{ClientID: id, ClientSecret: "secret", TokenURL: i.url + "/token", Scopes: scopes}
	token, err := c.Token(t.Context())
	check(t, err)
	return token.AccessToken
}

// both starts a provider and a gateway that takes its tokens.
func both(t *testing.T) (*issuer, *gateway.Gateway) {
	t.Helper()
	lists := map[string]any{"publish": []string{"shop.>"}, "subscribe": []string{"shop.>"}}
	i := startIssuer(t, map[string]any{
		"clients": []any{
			map[string]any{"id": "till", "secret": "secret", "redirect": "http://127.0.0.1/callback", "claims": lists},
			map[string]any{"id": "plain", "secret": "secret", "redirect": "http://127.0.0.1/callback"},
		},
		"users": map[string]any{"ann": lists},
	})
	issuers := fmt.Sprintf(`[{"issuer":%q,"audience":["portico"],"clock_skew":"0s","claims":{"publish":"publish","subscribe":"subscribe"},"scope_prefix":"portico."}]`, i.url)
	return i, gateway.Start(t, "--auth-lockout", "off", "--users", `[{"name":"root","password":"root"}]`, "--auth-issuers", issuers)
}

// TestOpenIDConnect runs one provider and one gateway for all of these, which take their turn.
func TestOpenIDConnect(t *testing.T) {
	i, g := both(t)
	for _, part := range []struct {
		name string
		run  func(*testing.T, *issuer, *gateway.Gateway)
	}{
		{"tokens at every door", tokensAtEveryDoor}, {"authorization code", authorizationCode}, {"scopes", scopes}, {"key rotation", keyRotation},
		{"expiry ends connections", expiryEndsConnections}, {"a new secret keeps the connection", aNewSecretKeepsTheConnection},
	} {
		t.Run(part.name, func(t *testing.T) {
			i.tell(t, "/life?seconds=3600")
			part.run(t, i, g)
		})
	}
}

// tokensAtEveryDoor uses one token at all doors, for what it allows and for what it does not.
func tokensAtEveryDoor(t *testing.T, i *issuer, g *gateway.Gateway) {
	token := i.token(t, "till")
	for name, enter := range doors {
		t.Run(name, func(t *testing.T) {
			root := watch(t, g)
			c, err := enter(t, g, token)
			check(t, err)
			check(t, c.publish("shop."+name))
			if got := root.next(t); got != "shop."+name {
				t.Errorf("arrived: %s", got)
			}
			if err := c.publish("bank." + name); err == nil && name != "MQTT" { // whose clients are not told
				t.Error("what the token does not allow is answered as if it did")
			}
			check(t, root.nc.Publish("fence", nil))
			if got := root.next(t); got != "fence" {
				t.Errorf("arrived: %s", got)
			}
			if _, err := enter(t, g, token[:len(token)-6]+"AAAAAA"); err == nil {
				t.Error("a token with another signature is taken")
			}
		})
	}
}

// watched is somebody who hears everything.
type watched struct {
	nc  *nats.Conn
	sub *nats.Subscription
}

func watch(t *testing.T, g *gateway.Gateway) *watched {
	t.Helper()
	nc, err := nats.Connect(strings.Replace(g.Doors["NATS"], "USER:PASSWORD@", "root:root@", 1))
	check(t, err)
	t.Cleanup(nc.Close)
	sub, err := nc.SubscribeSync(">")
	check(t, err)
	check(t, nc.Flush())
	return &watched{nc, sub}
}

// next is the subject of the next message of the test's own.
func (w *watched) next(t *testing.T) string {
	t.Helper()
	for {
		m, err := w.sub.NextMsg(patience)
		check(t, err)
		if !strings.HasPrefix(m.Subject, "_") && !strings.HasPrefix(m.Subject, "$") {
			return m.Subject
		}
	}
}

// authorizationCode is the flow of somebody before a browser, with PKCE: the ID token says who it is, the access token lets them in.
func authorizationCode(t *testing.T, i *issuer, g *gateway.Gateway) {
	ctx := context.Background()
	provider, err := oidclib.NewProvider(ctx, i.url)
	check(t, err)
	app := oauth2.Config{ClientID: "till", ClientSecret: "secret", Endpoint: provider.Endpoint(), RedirectURL: "http://127.0.0.1/callback", Scopes: []string{oidclib.ScopeOpenID}}
	verifier := oauth2.GenerateVerifier()
	browser := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	ask := app.AuthCodeURL("a state of some length", oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("user", "ann"), oidclib.Nonce("a nonce of some length"))
	resp, err := browser.Get(ask)
	check(t, err)
	resp.Body.Close()
	back, err := url.Parse(resp.Header.Get("Location"))
	check(t, err)
	if back.Query().Get("code") == "" {
		t.Fatalf("%d: %s", resp.StatusCode, back)
	}
	if _, err := app.Exchange(ctx, back.Query().Get("code"), oauth2.VerifierOption(oauth2.GenerateVerifier())); err == nil {
		t.Error("the code is taken from somebody else")
	}
	token, err := app.Exchange(ctx, again(t, browser, ask), oauth2.VerifierOption(verifier))
	check(t, err)
	text, _ := token.Extra("id_token").(string)
	id, err := provider.Verifier(&oidclib.Config{ClientID: "till"}).Verify(ctx, text)
	check(t, err)
	if id.Subject != "ann" || id.Nonce != "a nonce of some length" {
		t.Errorf("the ID token is of %q, nonce %q", id.Subject, id.Nonce)
	}
	c, err := viaHTTP(t, g, token.AccessToken)
	check(t, err)
	check(t, c.publish("shop.x"))
	if err := c.publish("bank.x"); err == nil {
		t.Error("what the token does not allow is done")
	}
	if _, err := viaHTTP(t, g, text); err == nil {
		t.Error("the ID token, which is meant for the application, is taken")
	}
}

// again gets another code: the one before was spent.
func again(t *testing.T, browser http.Client, ask string) string {
	t.Helper()
	resp, err := browser.Get(ask)
	check(t, err)
	resp.Body.Close()
	back, err := url.Parse(resp.Header.Get("Location"))
	check(t, err)
	return back.Query().Get("code")
}

// scopes comes in by what RabbitMQ's OAuth plug-in takes, and by a token that says nothing.
func scopes(t *testing.T, i *issuer, g *gateway.Gateway) {
	c, err := viaAMQP(t, g, i.token(t, "plain", "portico.write:*/amq.topic", "portico.configure:*/mine"))
	check(t, err)
	check(t, c.publish("anything"))
	ch, err := c.(*amqpClient).Channel()
	check(t, err)
	if _, err := ch.QueueDeclare("theirs", false, true, false, false, nil); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("a queue outside of the scopes: %v", err)
	}
	ch, err = c.(*amqpClient).Channel()
	check(t, err)
	_, err = ch.QueueDeclare("mine", false, true, false, false, nil)
	check(t, err)
	for name, enter := range map[string]func(*testing.T, *gateway.Gateway, string) (client, error){"AMQP": viaAMQP, "WebSocket": viaWebSocket} {
		c, err := enter(t, g, i.token(t, "plain"))
		check(t, err)
		if c.publish("anything") == nil {
			t.Errorf("%s: a token that says nothing of permissions has some", name)
		}
	}
}

// keyRotation has the provider sign by another key while clients are in.
func keyRotation(t *testing.T, i *issuer, g *gateway.Gateway) {
	before := i.token(t, "till")
	in, err := viaAMQP(t, g, before)
	check(t, err)
	i.tell(t, "/rotate")
	after := i.token(t, "till")
	deadline := time.Now().Add(patience)
	c, err := viaHTTP(t, g, after)
	for ; err != nil && time.Now().Before(deadline); c, err = viaHTTP(t, g, after) { // the provider is asked for its keys again after some seconds
		time.Sleep(50 * time.Millisecond)
	}
	check(t, err)
	check(t, c.publish("shop.x"))
	for name, enter := range doors {
		c, err := enter(t, g, after)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		check(t, c.publish("shop.x"))
	}
	check(t, in.publish("shop.x"))
	c, err = viaHTTP(t, g, before)
	check(t, err)
	check(t, c.publish("shop.x"))
}

// expiryEndsConnections comes in by a token that lasts some seconds, and stays.
func expiryEndsConnections(t *testing.T, i *issuer, g *gateway.Gateway) {
	i.tell(t, "/life?seconds=3")
	for name, enter := range doors {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := enter(t, g, i.token(t, "till"))
			for range 5 { // a busy machine may take longer than the token lasts
				if err == nil {
					break
				}
				c, err = enter(t, g, i.token(t, "till"))
			}
			check(t, err)
			said := make(chan string, 1)
			go func() { said <- c.ended() }()
			select {
			case got := <-said:
				if !strings.Contains(got, last[name]) {
					t.Errorf("said: %s", got)
				}
			case <-time.After(patience):
				t.Fatal("the connection goes on")
			}
			if c.publish("shop.x") == nil {
				t.Error("and publishing, too")
			}
		})
	}
}

// aNewSecretKeepsTheConnection: an AMQP client that shows a newer token in time stays.
func aNewSecretKeepsTheConnection(t *testing.T, i *issuer, g *gateway.Gateway) {
	i.tell(t, "/life?seconds=4")
	first := i.token(t, "till")
	c, err := viaAMQP(t, g, first)
	check(t, err)
	i.tell(t, "/life?seconds=3600")
	check(t, c.(*amqpClient).UpdateSecret(i.token(t, "till"), "the old one ends"))
	deadline := time.Now().Add(patience)
	for { // until the first one has expired for sure
		if _, err := viaHTTP(t, g, first); err != nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatal("the first token does not end")
		}
		time.Sleep(50 * time.Millisecond)
	}
	check(t, c.publish("shop.x"))
}
