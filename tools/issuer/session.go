package main

import (
	"maps"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/token/jwt"
)

// session is what tokens are made of: of an ID token and of an access token that is a JSON web token, too.
type session struct {
	*openid.DefaultSession
	claims map[string]any
	kid    string
}

var _ oauth2.JWTSessionContainer = (*session)(nil)

func (i *issuer) session(subject string, claims map[string]any) *session {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := time.Now()
	s := &session{DefaultSession: openid.NewDefaultSession(), claims: claims, kid: i.key.KeyID}
	s.Subject, s.Claims.Subject, s.Claims.AuthTime, s.Claims.RequestedAt = subject, subject, now, now
	s.Headers.Add("kid", i.key.KeyID)
	s.SetExpiresAt(fosite.AccessToken, now.Add(i.life))
	s.SetExpiresAt(fosite.IDToken, now.Add(i.life))
	return s
}

// GetJWTClaims implements oauth2.JWTSessionContainer.
func (s *session) GetJWTClaims() jwt.JWTClaimsContainer {
	return &jwt.JWTClaims{Subject: s.Subject, Extra: maps.Clone(s.claims), ScopeField: jwt.JWTScopeFieldString}
}

// GetJWTHeader implements oauth2.JWTSessionContainer.
func (s *session) GetJWTHeader() *jwt.Headers {
	return &jwt.Headers{Extra: map[string]any{"kid": s.kid}}
}

// Clone implements fosite.Session.
func (s *session) Clone() fosite.Session {
	return &session{DefaultSession: s.DefaultSession.Clone().(*openid.DefaultSession), claims: s.claims, kid: s.kid}
}
