package httpapi

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"portico/core"
)

// ownName tells whether a request's Host is no name that somebody else may have made to point here: an address, or localhost. While nobody has to log in, a page of any site
// could otherwise make its own name lead to this machine, and a browser would take the gateway for that site (DNS rebinding). "" is what clients say that know no host.
func ownName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") || !strings.Contains(host, ".") && !strings.Contains(host, ":") {
		return true // a name without a dot is of the machine's own network: no page is served from there by strangers
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

// misdirected answers 421.
func misdirected(w http.ResponseWriter, host string) {
	p := problem{
		Type: "urn:portico:problem:" + core.CodePermissionDenied.String(), Title: "Misdirected request", Status: http.StatusMisdirectedRequest, Code: core.CodePermissionDenied.String(),
		Detail: fmt.Sprintf("while there are no users the gateway answers to addresses and to localhost only, not to %.100q", host),
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client may have gone
}
