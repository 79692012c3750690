// Issuer is an OpenID Connect provider for tests, made of a library that others run in earnest. It knows the grants client_credentials and authorization_code (with PKCE), signs access and
// ID tokens with RS256, publishes its keys, and changes them when it is told to. It serves on a free port of this machine, prints its URL, and ends when its standard input does.
//
// Its only argument is JSON: {"clients": [{"id", "secret", "redirect", "claims": {…}}], "users": {"ann": {claims…}}}.
// POST /rotate makes another key, POST /life?seconds=2 changes how long new tokens live.
package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/storage"
	"github.com/ory/fosite/token/jwt"
	"golang.org/x/crypto/bcrypt"
)

type config struct {
	Clients []struct {
		ID       string         `json:"id"`
		Secret   string         `json:"secret"`
		Redirect string         `json:"redirect"`
		Claims   map[string]any `json:"claims"`
	} `json:"clients"`
	Users map[string]map[string]any `json:"users"`
}

// issuer is the provider with its keys.
type issuer struct {
	cfg    config
	url    string
	oauth  fosite.OAuth2Provider
	fosite *fosite.Config

	mu   sync.Mutex
	life time.Duration // guarded by mu
	key  *jose.JSONWebKey
	old  []jose.JSONWebKey // guarded by mu; still published
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: issuer JSON")
	}
	var cfg config
	if err := json.Unmarshal([]byte(os.Args[1]), &cfg); err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	i, err := newIssuer(cfg, "http://"+l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: i.routes(), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = server.Close()
	}()
	fmt.Println(i.url)
	if err := server.Serve(l); err != http.ErrServerClosed {
		log.Fatal(err)
	}
}

func newIssuer(cfg config, url string) (*issuer, error) {
	i := &issuer{cfg: cfg, url: url, life: time.Hour}
	if err := i.rotate(); err != nil {
		return nil, err
	}
	store := storage.NewMemoryStore()
	for _, c := range cfg.Clients {
		secret, err := bcrypt.GenerateFromPassword([]byte(c.Secret), bcrypt.MinCost)
		if err != nil {
			return nil, err
		}
		store.Clients[c.ID] = &fosite.DefaultClient{
			ID: c.ID, Secret: secret, RedirectURIs: []string{c.Redirect}, ResponseTypes: []string{"code"},
			GrantTypes: []string{"client_credentials", "authorization_code"}, Scopes: []string{"any"}, Audience: []string{"portico"},
		}
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	i.fosite = &fosite.Config{
		AccessTokenIssuer: url, IDTokenIssuer: url, GlobalSecret: secret, ClientSecretsHasher: &fosite.BCrypt{Config: &fosite.Config{HashCost: bcrypt.MinCost}},
		ScopeStrategy: func([]string, string) bool { return true }, EnforcePKCEForPublicClients: true, JWTScopeClaimKey: jwt.JWTScopeFieldString, SendDebugMessagesToClients: true,
	}
	key := func(context.Context) (any, error) { return i.current(), nil }
	i.oauth = compose.Compose(i.fosite, store, &compose.CommonStrategy{
		CoreStrategy:               compose.NewOAuth2JWTStrategy(key, compose.NewOAuth2HMACStrategy(i.fosite), i.fosite),
		OpenIDConnectTokenStrategy: compose.NewOpenIDConnectStrategy(key, i.fosite),
	}, compose.OAuth2ClientCredentialsGrantFactory, compose.OAuth2AuthorizeExplicitFactory, compose.OpenIDConnectExplicitFactory, compose.OAuth2PKCEFactory)
	return i, nil
}

func (i *issuer) current() *jose.JSONWebKey {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.key
}

// rotate makes another key. Those before stay published, as tokens that they have signed are still about.
func (i *issuer) rotate() error {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	id := make([]byte, 8)
	_, _ = rand.Read(id)
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.key != nil {
		i.old = append(i.old, i.key.Public())
	}
	i.key = &jose.JSONWebKey{Key: private, KeyID: hex.EncodeToString(id), Algorithm: "RS256", Use: "sig"}
	return nil
}

func (i *issuer) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", i.discovery)
	mux.HandleFunc("GET /keys", i.keys)
	mux.HandleFunc("GET /authorize", i.authorize)
	mux.HandleFunc("POST /token", i.token)
	mux.HandleFunc("POST /rotate", func(w http.ResponseWriter, _ *http.Request) {
		if err := i.rotate(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("POST /life", func(w http.ResponseWriter, r *http.Request) {
		seconds, err := strconv.Atoi(r.URL.Query().Get("seconds"))
		if err != nil {
			http.Error(w, "seconds=N", http.StatusBadRequest)
			return
		}
		i.mu.Lock()
		defer i.mu.Unlock()
		i.life = time.Duration(seconds) * time.Second
	})
	return mux
}

func (i *issuer) discovery(w http.ResponseWriter, _ *http.Request) {
	show(w, map[string]any{
		"issuer": i.url, "authorization_endpoint": i.url + "/authorize", "token_endpoint": i.url + "/token", "jwks_uri": i.url + "/keys",
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"},
	})
}

func (i *issuer) keys(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	show(w, jose.JSONWebKeySet{Keys: append([]jose.JSONWebKey{i.key.Public()}, i.old...)})
}

func show(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// authorize asks nobody: whoever the parameter user names has logged in and said yes.
func (i *issuer) authorize(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	request, err := i.oauth.NewAuthorizeRequest(ctx, r)
	if err != nil {
		i.oauth.WriteAuthorizeError(ctx, w, request, err)
		return
	}
	user := r.URL.Query().Get("user")
	claims, known := i.cfg.Users[user]
	if !known {
		i.oauth.WriteAuthorizeError(ctx, w, request, fosite.ErrAccessDenied)
		return
	}
	grantAll(request)
	response, err := i.oauth.NewAuthorizeResponse(ctx, request, i.session(user, claims))
	if err != nil {
		i.oauth.WriteAuthorizeError(ctx, w, request, err)
		return
	}
	i.oauth.WriteAuthorizeResponse(ctx, w, request, response)
}

func (i *issuer) token(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	request, err := i.oauth.NewAccessRequest(ctx, r, i.session("", nil))
	if err != nil {
		i.oauth.WriteAccessError(ctx, w, request, err)
		return
	}
	if request.GetGrantTypes().ExactOne("client_credentials") {
		for _, c := range i.cfg.Clients {
			if c.ID == request.GetClient().GetID() {
				request.SetSession(i.session(c.ID, c.Claims))
			}
		}
		grantAll(request)
	}
	response, err := i.oauth.NewAccessResponse(ctx, request)
	if err != nil {
		i.oauth.WriteAccessError(ctx, w, request, err)
		return
	}
	i.oauth.WriteAccessResponse(ctx, w, request, response)
}

// grantAll grants what was asked for, and that the token is meant for the gateway.
func grantAll(request fosite.Requester) {
	for _, scope := range request.GetRequestedScopes() {
		request.GrantScope(scope)
	}
	request.GrantAudience("portico")
}
