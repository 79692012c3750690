package websocket

import (
	"cmp"
	"net/http"
	"strings"

	"portico/core"
	"portico/core/certs"
)

// credentialsOf are those that the upgrade shows: Basic, or a bearer token, or the connection's certificate, or none. CodeUnauthenticated for other schemes.
func credentialsOf(r *http.Request) (core.Credentials, *core.Error) {
	shown := core.Credentials{Door: door, Remote: r.RemoteAddr, Certificate: certs.ClientCertificate(r.TLS), Tenant: tenantOf(r)}
	if user, password, basic := r.BasicAuth(); basic {
		shown.User, shown.Password = user, password
		return shown, nil
	}
	header := r.Header.Get("Authorization")
	scheme, token, _ := strings.Cut(header, " ")
	switch token = strings.TrimSpace(token); {
	case header == "":
		token, shows, err := offeredToken(r)
		shown.Token, shown.Anonymous = token, !shows
		return shown, err
	case strings.EqualFold(scheme, "Bearer") && token != "":
		shown.Token = token
	default:
		return shown, core.Errorf(core.CodeUnauthenticated, "only Basic credentials and Bearer tokens are understood")
	}
	return shown, nil
}

// tenantOf is the tenant that the upgrade asks for: in the header, or for browsers, which cannot set one, in the query. Without either it is the identity's own.
func tenantOf(r *http.Request) string {
	return cmp.Or(r.Header.Get("Portico-Tenant"), r.URL.Query().Get("tenant"))
}
