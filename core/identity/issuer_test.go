package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/core/policy"

	"github.com/go-jose/go-jose/v4"
)

// provider publishes keys and signs, as an OpenID Connect provider does.
type provider struct {
	*httptest.Server
	mu      sync.Mutex
	keys    []jose.JSONWebKey // guarded by mu
	fetched map[string]int    // guarded by mu
}

func newProvider(t testing.TB) *provider {
	t.Helper()
	p := &provider{fetched: map[string]int{}}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.fetched[r.URL.Path]++
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/keys" {
			_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: p.keys})
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": p.URL, "jwks_uri": p.URL + "/keys", "authorization_endpoint": p.URL + "/a", "token_endpoint": p.URL + "/t"})
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *provider) publish(id string, key crypto.PublicKey, algorithm string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = append(p.keys, jose.JSONWebKey{Key: key, KeyID: id, Algorithm: algorithm, Use: "sig"})
}

func (p *provider) asked(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fetched[path]
}

// sign makes a token of claims.
func sign(t testing.TB, key any, id string, algorithm jose.SignatureAlgorithm, claims map[string]any) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: key, KeyID: id}}, nil)
	must(t, err)
	raw, err := json.Marshal(claims)
	must(t, err)
	signed, err := s.Sign(raw)
	must(t, err)
	text, err := signed.CompactSerialize()
	must(t, err)
	return text
}

func (p *provider) claims(with map[string]any) map[string]any {
	all := map[string]any{"iss": p.URL, "aud": "portico", "sub": "ann", "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(all, with)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	return all
}

func rsaKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	return key
}

func TestTokensOfAnIssuer(t *testing.T) {
	p := newProvider(t)
	key, other := rsaKey(t), rsaKey(t)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	public, edwards, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	p.publish("r", key.Public(), "")
	p.publish("e", curve.Public(), "ES256")
	p.publish("d", public, "EdDSA")
	d := directory(t, Config{
		Users:   []User{{Name: "root", Password: "r"}},
		Issuers: []Issuer{{URL: p.URL, Audience: []string{"other", "portico"}, Skew: 10 * time.Second}},
	})
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	must(t, err)
	asSecret := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	now := time.Now().Unix()
	part := func(v map[string]any) string {
		raw, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	good := sign(t, key, "r", jose.RS256, p.claims(nil))
	for name, c := range map[string]struct {
		token string
		ok    bool
	}{
		"RS256":                         {good, true},
		"ES256":                         {sign(t, curve, "e", jose.ES256, p.claims(nil)), true},
		"EdDSA":                         {sign(t, edwards, "d", jose.EdDSA, p.claims(nil)), true},
		"no key id":                     {sign(t, key, "", jose.RS256, p.claims(nil)), true},
		"several audiences":             {sign(t, key, "r", jose.RS256, p.claims(map[string]any{"aud": []string{"x", "portico"}})), true},
		"expired, but within the skew":  {sign(t, key, "r", jose.RS256, p.claims(map[string]any{"exp": now - 3})), true},
		"not yet, but within the skew":  {sign(t, key, "r", jose.RS256, p.claims(map[string]any{"nbf": now + 3})), true},
		"RS384, which is not listed":    {sign(t, key, "r", jose.RS384, p.claims(nil)), false},
		"another key":                   {sign(t, other, "r", jose.RS256, p.claims(nil)), false},
		"an unknown key":                {sign(t, other, "x", jose.RS256, p.claims(nil)), false},
		"HMAC with the public key":      {sign(t, asSecret, "r", jose.HS256, p.claims(nil)), false},
		"no signature":                  {part(map[string]any{"alg": "none", "typ": "JWT"}) + "." + part(p.claims(nil)) + ".", false},
		"no signature, signed":          {part(map[string]any{"alg": "none"}) + "." + strings.SplitN(good, ".", 2)[1], false},
		"claims changed":                {strings.Split(good, ".")[0] + "." + part(p.claims(map[string]any{"sub": "root"})) + "." + strings.Split(good, ".")[2], false},
		"expired":                       {sign(t, key, "r", jose.RS256, p.claims(map[string]any{"exp": now - 60})), false},
		"without an end":                {sign(t, key, "r", jose.RS256, p.claims(map[string]any{"exp": nil})), false},
		"not yet":                       {sign(t, key, "r", jose.RS256, p.claims(map[string]any{"nbf": now + 60})), false},
		"for somebody else":             {sign(t, key, "r", jose.RS256, p.claims(map[string]any{"aud": "somebody"})), false},
		"for nobody":                    {sign(t, key, "r", jose.RS256, p.claims(map[string]any{"aud": nil})), false},
		"of another issuer":             {sign(t, key, "r", jose.RS256, p.claims(map[string]any{"iss": "https://example.com"})), false},
		"of no issuer":                  {sign(t, key, "r", jose.RS256, p.claims(map[string]any{"iss": nil})), false},
		"without a name":                {sign(t, key, "r", jose.RS256, p.claims(map[string]any{"sub": nil})), false},
		"with a control character":      {sign(t, key, "r", jose.RS256, p.claims(map[string]any{"sub": "a\nb"})), false},
		"a name that is a number":       {sign(t, key, "r", jose.RS256, p.claims(map[string]any{"sub": 7})), false},
		"three parts that are nonsense": {"eyJ" + strings.Repeat("a", 70) + ".b.c", false},
		"one part":                      {"eyJ" + strings.Repeat("a", 70), false},
	} {
		l, err := d.Login(t.Context(), Credentials{Token: c.token})
		if c.ok && (err != nil || nameOf(l) != "ann") {
			t.Errorf("%s: %q, %v (%v)", name, nameOf(l), err, errors.Unwrap(err))
		}
		var bad *BadTokenError
		if !c.ok && !errors.As(err, &bad) {
			t.Errorf("%s: %q, %v", name, nameOf(l), err)
		}
	}
	l := mustLogin(t, d, Credentials{User: "whoever", Password: good}) // as AMQP, MQTT and STOMP clients show it
	if l != mustLogin(t, d, Credentials{Token: good}) || l.Expires().IsZero() {
		t.Error("the same token gives two logins, or one without end")
	}
	if n := p.asked("/keys"); n > 2 {
		t.Errorf("the keys were asked for %d times: nonsense makes the gateway ask", n)
	}
	must(t, d.Configure(Config{Users: []User{{Name: "root", Password: "r"}}}))
	closes(t, "a token of an issuer that is gone", l.Ended())
	if _, err := d.Login(t.Context(), Credentials{Token: good}); err == nil {
		t.Error("a token of an issuer that is gone is taken")
	}
}

func TestKeysAreChanged(t *testing.T) {
	p := newProvider(t)
	one, two := rsaKey(t), rsaKey(t)
	p.publish("1", one.Public(), "RS256")
	d := directory(t, Config{})
	d.issuers.every = time.Second
	must(t, d.Configure(Config{Users: []User{{Name: "root", Password: "r"}}, Issuers: []Issuer{{URL: p.URL, JWKS: p.URL + "/keys", Audience: []string{"portico"}}}}))
	before := mustLogin(t, d, Credentials{Token: sign(t, one, "1", jose.RS256, p.claims(nil))})
	p.mu.Lock()
	p.keys = nil
	p.mu.Unlock()
	p.publish("2", two.Public(), "RS256")
	later := sign(t, two, "2", jose.RS256, p.claims(nil))
	deadline := time.Now().Add(patience)
	for { // the issuer is asked again when that time is over
		if _, err := d.Login(t.Context(), Credentials{Token: later}); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if before.Err() != nil {
		t.Errorf("who came in by the old key: %v", before.Err())
	}
	if _, err := d.Login(t.Context(), Credentials{Token: sign(t, one, "1", jose.RS256, p.claims(map[string]any{"jti": "2"}))}); err == nil {
		t.Error("another token by the old key is taken")
	}
	if p.asked("/.well-known/openid-configuration") != 0 {
		t.Error("the discovery document was asked for although the keys' place is configured")
	}
}

func TestWhatClaimsMean(t *testing.T) {
	p := newProvider(t)
	key := rsaKey(t)
	p.publish("1", key.Public(), "RS256")
	issuer := Issuer{URL: p.URL, Audience: []string{"portico"}, ScopePrefix: "portico.", Claims: Claims{
		User: "preferred_username", Roles: "realm_access.roles", Publish: "https://portico.example/publish", Subscribe: "portico.subscribe",
	}}
	d := directory(t, Config{Users: []User{{Name: "root", Password: "r"}}, Issuers: []Issuer{issuer}})
	type question struct {
		action policy.Action
		r      policy.Resource
	}
	pub, sub := func(s string) question { return question{policy.Publish, policy.Resource{Name: s}} }, func(s string) question { return question{policy.Subscribe, policy.Resource{Name: s}} }
	admin := question{policy.Administer, policy.Resource{}}
	write := func(exchange, key string) question {
		return question{policy.WriteExchange, policy.Resource{Name: exchange, Key: key, ByTopic: true}}
	}
	consume := func(queue string) question { return question{policy.Consume, policy.Resource{Name: queue}} }
	declare := func(queue string) question { return question{policy.Declare, policy.Resource{Name: queue}} }
	for name, c := range map[string]struct {
		claims   map[string]any
		yes, not []question
	}{
		"nothing said is nothing allowed": {nil, nil, []question{pub("a"), sub("a"), admin, consume("q")}},
		"lists": {map[string]any{"https://portico.example/publish": []string{"a.>"}, "portico": map[string]any{"subscribe": "b.* c"}},
			[]question{pub("a.b"), sub("b.x"), sub("c")}, []question{pub("b.x"), sub("a.b"), admin, consume("q")}},
		"only what to publish": {map[string]any{"https://portico.example/publish": []string{"a.>"}}, []question{pub("a.b")}, []question{sub("a.b"), sub("x")}},
		"a role":               {map[string]any{"realm_access": map[string]any{"roles": []string{"offline_access", "administrator"}}}, []question{admin}, []question{pub("a")}},
		"scopes": {map[string]any{"scope": "openid portico.write:%2F/orders portico.read:*/jobs* portico.configure:%2F/jobs.mine other.read:*/*"},
			[]question{write("orders", "any"), consume("jobs"), consume("jobs.mine"), declare("jobs.mine")},
			[]question{write("other", "any"), declare("jobs"), consume("orders"), admin}},
		"scopes of keys": {map[string]any{"scope": "portico.write:*/amq.topic/eu.* portico.read:*/*"},
			[]question{write("amq.topic", "eu.x"), consume("any")}, []question{write("amq.topic", "us.x"), write("other", "eu.x")}},
		"scopes of another vhost": {map[string]any{"scope": "portico.write:shop/*"}, nil, []question{write("orders", "any"), pub("a")}},
		"a tag":                   {map[string]any{"scope": "portico.tag:administrator"}, []question{admin}, []question{pub("a")}},
		"what is no claim of ours": {map[string]any{"scope": []any{7, nil, "x:y:z", "portico.", "portico.read:", "portico.write:a"}, "realm_access": "x", "portico": 3},
			nil, []question{pub("a"), sub("a"), admin, write("orders", "x")}},
	} {
		claims := p.claims(map[string]any{"preferred_username": "bob", "jti": name})
		maps.Copy(claims, c.claims)
		l, err := d.Login(t.Context(), Credentials{Token: sign(t, key, "1", jose.RS256, claims)})
		if err != nil {
			t.Errorf("%s: %v (%v)", name, err, errors.Unwrap(err))
			continue
		}
		if nameOf(l) != "bob" {
			t.Errorf("%s: %q", name, nameOf(l))
		}
		for _, q := range slices.Concat(c.yes, c.not) {
			want := slices.Contains(c.yes, q)
			if got := l.Identity().Permissions.Decide(q.action, q.r); got.Allowed != want {
				t.Errorf("%s: %s %+v: %+v", name, q.action, q.r, got)
			}
		}
	}
}

func TestTheTenantInAToken(t *testing.T) {
	p := newProvider(t)
	key := rsaKey(t)
	p.publish("1", key.Public(), "RS256")
	d := directory(t, Config{Users: []User{{Name: "root", Password: "r"}}, Issuers: []Issuer{{
		URL: p.URL, Audience: []string{"portico"}, Claims: Claims{Tenant: "org.tenant"}, Permissions: &policy.Spec{Publish: policy.Lists{Allow: []string{"a.>"}}},
	}}})
	l := mustLogin(t, d, Credentials{Token: sign(t, key, "1", jose.RS256, p.claims(map[string]any{"org": map[string]any{"tenant": "shop"}}))})
	if who := l.Identity(); who.Tenant != "shop" || who.MayEnter("/") || !who.MayEnter("shop") {
		t.Errorf("%+v", who)
	}
	if !l.Identity().Permissions.Decide(policy.Publish, policy.Resource{Name: "a.b"}).Allowed {
		t.Error("the issuer's permissions are not those of a token without any")
	}
	var bad *BadTokenError
	if _, err := d.Login(t.Context(), Credentials{Token: sign(t, key, "1", jose.RS256, p.claims(nil))}); !errors.As(err, &bad) {
		t.Errorf("a token without a tenant: %v", err)
	}
}

func TestIssuersThatAreRefused(t *testing.T) {
	good := Issuer{URL: "https://login.example.com", Audience: []string{"portico"}}
	must(t, good.Check())
	for name, change := range map[string]func(*Issuer){
		"no URL":             func(i *Issuer) { i.URL = "" },
		"http":               func(i *Issuer) { i.URL = "http://login.example.com" },
		"keys by http":       func(i *Issuer) { i.JWKS = "http://login.example.com/keys" },
		"a password in it":   func(i *Issuer) { i.URL = "https://a:b@login.example.com" },
		"no audience":        func(i *Issuer) { i.Audience = nil },
		"an empty audience":  func(i *Issuer) { i.Audience = []string{""} },
		"no signature":       func(i *Issuer) { i.Algorithms = []string{"none"} },
		"HMAC":               func(i *Issuer) { i.Algorithms = []string{"RS256", "HS256"} },
		"a skew of a day":    func(i *Issuer) { i.Skew = 24 * time.Hour },
		"a negative skew":    func(i *Issuer) { i.Skew = -1 },
		"a pattern not such": func(i *Issuer) { i.Permissions = &policy.Spec{Publish: policy.Lists{Allow: []string{"a..b"}}} },
	} {
		i := good
		change(&i)
		if err := i.Check(); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestAnIssuerThatIsAway(t *testing.T) {
	p := newProvider(t)
	key := rsaKey(t)
	token := sign(t, key, "1", jose.RS256, p.claims(nil))
	p.Close()
	d := directory(t, Config{Users: []User{{Name: "root", Password: "r"}}, Issuers: []Issuer{{URL: p.URL, Audience: []string{"portico"}}}})
	var bad *BadTokenError
	if _, err := d.Login(t.Context(), Credentials{Token: token}); !errors.As(err, &bad) || strings.Contains(bad.Detail, token) {
		t.Errorf("%v", err)
	}
	mustLogin(t, d, Credentials{User: "root", Password: "r"})
}

func TestKnownTokensAreBounded(t *testing.T) {
	s := newIssuers()
	i := newIssuer(Issuer{URL: "https://login.example.com"}, fetchInterval)
	s.byURL[i.URL] = i
	for n := range maxTokensKnown + 100 {
		s.remember([32]byte{byte(n), byte(n >> 8)}, i, newLive(i.all, &Identity{}, time.Time{}))
	}
	if len(s.known) != maxTokensKnown || s.order.Len() != maxTokensKnown {
		t.Errorf("%d known, %d in order", len(s.known), s.order.Len())
	}
}
