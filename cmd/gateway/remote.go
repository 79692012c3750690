package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// What a command needs to talk to a running gateway, beside the flags.
const (
	envURL   = envPrefix + "URL"
	envLogin = envPrefix + "LOGIN"
	envToken = envPrefix + "TOKEN"
)

// Bounds of one call.
const (
	remoteTimeout = time.Minute
	maxAnswer     = 64 << 20 // bytes
)

// remote is a running gateway, by its HTTP door.
type remote struct {
	base            *url.URL
	token           string
	login, password string
	client          *http.Client
}

// remoteFlags are the flags of commands that talk to a running gateway.
func remoteFlags(flags *pflag.FlagSet) {
	flags.String("url", "", "the running gateway's HTTP door ("+envURL+"; default: where this configuration has it)")
	flags.String("login", "", "name:password of an administrator ("+envLogin+"; default: guest:guest on this machine)")
	flags.String("token", "", "an administrator's token ("+envToken+")")
	flags.String("ca", "", "file of the certificates that the gateway's is checked with (default: the system's)")
}

// newRemote makes one of the flags, the environment and, for the address, the configuration.
func newRemote(flags *pflag.FlagSet, environ []string, cfg *Config) (*remote, error) {
	setting := func(flag, env string) string {
		if f := flags.Lookup(flag); f.Changed {
			return f.Value.String()
		}
		for _, v := range environ {
			if text, ok := strings.CutPrefix(v, env+"="); ok && env != "" {
				return text
			}
		}
		return ""
	}
	at := setting("url", envURL)
	if at == "" {
		if cfg.HTTP.Listen == off {
			return nil, errors.New("the HTTP door is off: say by --url where a gateway is")
		}
		at = "http://" + reachable(cfg.HTTP.Listen)
	}
	base, err := url.Parse(at)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("--url: found %q, expected one such as http://127.0.0.1:8080", at)
	}
	r := &remote{base: base, token: setting("token", envToken), client: &http.Client{Timeout: remoteTimeout}}
	login := setting("login", envLogin)
	if login == "" && r.token == "" && loopback(base.Host) {
		login = "guest:guest"
	}
	r.login, r.password, _ = strings.Cut(login, ":")
	return r, r.trust(setting("ca", ""))
}

// trust takes the certificates of a file instead of the system's.
func (r *remote) trust(file string) error {
	if file == "" {
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("--ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return fmt.Errorf("--ca: there is no certificate in %s", file)
	}
	r.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	return nil
}

// call asks the gateway: in and out are JSON values, or nil for none. path is escaped already. What the gateway refuses is an error in its words.
func (r *remote) call(ctx context.Context, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	if in == nil {
		body = nil
	}
	request, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(r.base.String(), "/")+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	switch {
	case r.token != "":
		request.Header.Set("Authorization", "Bearer "+r.token)
	case r.login != "":
		request.SetBasicAuth(r.login, r.password)
	}
	answer, err := r.client.Do(request)
	if err != nil {
		return fmt.Errorf("ask the gateway: %w", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("ask the gateway: %w", err)
	}
	if answer.StatusCode/100 != 2 {
		return refusal(answer.StatusCode, text)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// refusal is a problem as an error.
func refusal(status int, text []byte) error {
	var problem struct{ Title, Detail string }
	if json.Unmarshal(text, &problem) == nil && problem.Title != "" {
		if problem.Detail == "" {
			return fmt.Errorf("the gateway says %d: %s", status, problem.Title)
		}
		return fmt.Errorf("the gateway says %d: %s", status, problem.Detail)
	}
	return fmt.Errorf("the gateway says %d", status)
}
