package identity

import (
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"portico/core/policy"

	"github.com/coreos/go-oidc/v3/oidc"
)

// Issuer makes JSON web tokens that are taken here: an OpenID Connect provider, or whoever publishes keys.
type Issuer struct {
	URL         string        // as it stands in the tokens' iss; https, or http on this machine
	JWKS        string        // where its keys are; "": what its discovery document says
	Audience    []string      // a token must be meant for one of them (aud)
	Algorithms  []string      // of signatures; none: RS256, ES256 and EdDSA. Only those with public keys can be there
	Skew        time.Duration // how far its clock may be off
	Claims      Claims
	ScopePrefix string       // in front of scopes that mean this gateway, such as "portico."
	Permissions *policy.Spec // of tokens that say nothing of permissions; nil: nothing is allowed then
}

// Bounds of issuers and of what is asked of them.
const (
	MaxIssuers     = 32
	maxAudience    = 64
	maxFetched     = 1 << 20 // bytes of a discovery document or key set
	fetchTimeout   = 10 * time.Second
	fetchInterval  = 5 * time.Second // between two questions for the same: whoever shows nonsense cannot make the gateway ask
	maxTokensKnown = 4096            // tokens whose signature need not be checked again
)

// Algorithms are the kinds of signatures that a token may have.
func Algorithms() []string {
	return []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA}
}

// Check tells what is wrong with an issuer.
func (i *Issuer) Check() error {
	if err := checkURL(i.URL); err != nil {
		return fmt.Errorf("issuer %q: %w", i.URL, err)
	}
	if i.JWKS != "" {
		if err := checkURL(i.JWKS); err != nil {
			return fmt.Errorf("issuer %q: jwks %q: %w", i.URL, i.JWKS, err)
		}
	}
	if len(i.Audience) == 0 || len(i.Audience) > maxAudience || slices.Contains(i.Audience, "") {
		return fmt.Errorf("issuer %q: want 1 to %d audiences", i.URL, maxAudience)
	}
	for _, a := range i.Algorithms {
		if !slices.Contains(Algorithms(), a) {
			return fmt.Errorf("issuer %q: algorithm %q: want one of %s", i.URL, a, strings.Join(Algorithms(), ", "))
		}
	}
	if i.Skew < 0 || i.Skew > time.Hour {
		return fmt.Errorf("issuer %q: clock skew: want at most an hour", i.URL)
	}
	if _, err := policy.New("", "", i.Permissions); err != nil {
		return fmt.Errorf("issuer %q: permissions: %w", i.URL, err)
	}
	return nil
}

// checkURL wants https: keys that came by http could be anybody's, unless they come from this machine.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return errors.New("want a URL such as https://login.example.com")
	}
	at, err := netip.ParseAddr(u.Hostname())
	local := u.Hostname() == "localhost" || err == nil && at.IsLoopback()
	if u.Scheme != "https" && (u.Scheme != "http" || !local) {
		return errors.New("want https")
	}
	return nil
}

// issuers are those that are configured, with the tokens of theirs that are known to be good.
type issuers struct {
	every time.Duration // immutable: between two questions for the same

	mu    sync.Mutex
	byURL map[string]*issuer                  // guarded by mu
	order *list.List                          // guarded by mu: *proof, used longest ago first
	known map[[sha256.Size]byte]*list.Element // guarded by mu
}

type proof struct {
	sum    [sha256.Size]byte
	issuer *issuer
	live   *Live
}

// issuer is one of them with its keys.
type issuer struct {
	Issuer
	all    *Live // ends when it is no longer configured
	client *http.Client

	turn     chan struct{}         // holds one; whoever has taken it may read and write the rest
	verifier *oidc.IDTokenVerifier // nil: not asked yet
}

func newIssuers() *issuers {
	return &issuers{every: fetchInterval, byURL: map[string]*issuer{}, order: list.New(), known: map[[sha256.Size]byte]*list.Element{}}
}

func (s *issuers) some() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byURL) > 0
}

// configure puts a list in force. Those of an issuer that is gone or has changed are ended: their tokens have to be looked at again.
func (s *issuers) configure(all []Issuer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := map[string]*issuer{}
	for _, cfg := range all {
		if before := s.byURL[cfg.URL]; before != nil && reflect.DeepEqual(before.Issuer, cfg) {
			next[cfg.URL] = before
			continue
		}
		next[cfg.URL] = newIssuer(cfg, s.every)
	}
	for at, i := range s.byURL {
		if next[at] != i {
			i.all.end(ErrRevoked)
			i.client.CloseIdleConnections()
		}
	}
	s.byURL = next
}

func newIssuer(cfg Issuer, every time.Duration) *issuer {
	transport := &patient{every: every, next: http.DefaultTransport.(*http.Transport).Clone(), last: map[string]time.Time{}}
	transport.next.DisableKeepAlives = true // it is asked once in weeks
	i := &issuer{Issuer: cfg, all: newLive(nil, nil, time.Time{}), client: &http.Client{Timeout: fetchTimeout, Transport: transport}, turn: make(chan struct{}, 1)}
	i.turn <- struct{}{}
	return i
}

// login lets in who shows a token of one of the issuers.
func (s *issuers) login(ctx context.Context, token string) (*Live, error) {
	sum := sha256.Sum256([]byte(token))
	if l := s.find(sum); l != nil {
		return l, expired(l.Err())
	}
	at, err := issuerOf(token)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	i := s.byURL[at]
	s.mu.Unlock()
	if i == nil {
		return nil, badToken("tokens of the issuer %s are not taken here", shortList([]string{at}))
	}
	who, until, err := i.verify(ctx, token)
	if err != nil {
		return nil, err
	}
	return s.remember(sum, i, newLive(i.all, who, until)), nil
}

// expired says to a client why its token is good no longer.
func expired(why error) error {
	if why == nil {
		return nil
	}
	return &BadTokenError{Detail: why.Error(), Err: why}
}

// find returns what the same token gave before. One that has ended for another reason than its time is looked at again.
func (s *issuers) find(sum [sha256.Size]byte) *Live {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.known[sum]
	if e == nil {
		return nil
	}
	p := e.Value.(*proof)
	if s.byURL[p.issuer.URL] != p.issuer {
		s.forget(e)
		return nil
	}
	s.order.MoveToBack(e)
	return p.live
}

func (s *issuers) forget(e *list.Element) {
	delete(s.known, e.Value.(*proof).sum)
	s.order.Remove(e)
}

// remember keeps what a token gave, or returns what another login has kept of it meanwhile.
func (s *issuers) remember(sum [sha256.Size]byte, i *issuer, l *Live) *Live {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.known[sum]; e != nil && e.Value.(*proof).issuer == i {
		return e.Value.(*proof).live
	}
	for s.order.Len() >= maxTokensKnown {
		s.forget(s.order.Front())
	}
	s.known[sum] = s.order.PushBack(&proof{sum, i, l})
	return l
}

// verify checks signature, issuer, audience and times, and reads the claims. until is when the token ends, the issuer's clock being as far off as it may.
func (i *issuer) verify(ctx context.Context, token string) (who *Identity, until time.Time, err error) {
	v, err := i.keys(ctx)
	if err != nil {
		return nil, until, err
	}
	t, err := v.Verify(ctx, token)
	if err != nil {
		return nil, until, &BadTokenError{Detail: "the token is not one that the issuer has signed, or its keys cannot be had", Err: err}
	}
	var claims map[string]any
	if err := t.Claims(&claims); err != nil {
		return nil, until, &BadTokenError{Detail: "the token's claims cannot be read", Err: err}
	}
	now := time.Now()
	until = t.Expiry.Add(i.Skew)
	switch notBefore, _ := claims["nbf"].(float64); {
	case !now.Before(until):
		return nil, until, &BadTokenError{Detail: "the token has expired", Err: ErrExpired}
	case notBefore > float64(now.Add(i.Skew).Unix()+1):
		return nil, until, badToken("the token is not good yet")
	case !slices.ContainsFunc(t.Audience, func(a string) bool { return slices.Contains(i.Audience, a) }):
		return nil, until, badToken("the token is meant for somebody else (aud)")
	}
	if who, err = i.identity(claims); err != nil {
		return nil, until, err
	}
	who.Expires = until
	return who, until, nil
}

// keys returns what checks signatures. The issuer is asked at the first token, not when the gateway starts: it may start later.
func (i *issuer) keys(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	select {
	case <-i.turn:
		defer func() { i.turn <- struct{}{} }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if i.verifier != nil {
		return i.verifier, nil
	}
	ctx = oidc.ClientContext(ctx, i.client)
	algorithms := i.Algorithms
	if len(algorithms) == 0 {
		algorithms = []string{oidc.RS256, oidc.ES256, oidc.EdDSA}
	}
	cfg := &oidc.Config{SkipClientIDCheck: true, SkipExpiryCheck: true, SupportedSigningAlgs: algorithms} // verify looks at these by itself
	if i.JWKS != "" {
		i.verifier = oidc.NewVerifier(i.URL, oidc.NewRemoteKeySet(ctx, i.JWKS), cfg)
		return i.verifier, nil
	}
	p, err := oidc.NewProvider(ctx, i.URL)
	if err != nil {
		return nil, &BadTokenError{Detail: "the token's issuer cannot be asked for its keys", Err: err}
	}
	i.verifier = p.VerifierContext(ctx, cfg)
	return i.verifier, nil
}

// patient asks for nothing again that it has asked for a moment ago, and takes no more than maxFetched bytes.
type patient struct {
	// immutable
	every time.Duration
	next  *http.Transport

	mu   sync.Mutex
	last map[string]time.Time // guarded by mu; of the two documents that an issuer has
}

var errAskedAlready = errors.New("the issuer was asked a moment ago")

// RoundTrip implements http.RoundTripper.
func (p *patient) RoundTrip(r *http.Request) (*http.Response, error) {
	if !p.may(r.URL.String()) {
		return nil, errAskedAlready
	}
	resp, err := p.next.RoundTrip(r)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, maxFetched)
	}
	return resp, err
}

func (p *patient) may(at string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if last, asked := p.last[at]; asked && now.Sub(last) < p.every || len(p.last) > MaxIssuers {
		return false
	}
	p.last[at] = now
	return true
}

// looksLikeJWT tells whether text has the form of a signed JSON web token: three parts of base64, the first of which is a JSON object.
func looksLikeJWT(text string) bool {
	return strings.HasPrefix(text, "eyJ") && strings.Count(text, ".") == 2 && len(text) > 64
}

// issuerOf reads whose token it says it is. Nothing of it is believed: it chooses whose keys to check it with.
func issuerOf(token string) (string, error) {
	if !looksLikeJWT(token) {
		return "", badToken("the token is of no known kind")
	}
	_, rest, _ := strings.Cut(token, ".")
	body, _, _ := strings.Cut(rest, ".")
	raw, err := base64.RawURLEncoding.DecodeString(body)
	var claims struct {
		Issuer string `json:"iss"`
	}
	if err != nil || json.Unmarshal(raw, &claims) != nil {
		return "", badToken("the token cannot be read")
	}
	return claims.Issuer, nil
}
