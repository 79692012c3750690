package websocket

import (
	"encoding/base64"
	"net/http"
	"strings"

	"portico/core"

	"github.com/gorilla/websocket"
)

// bearerItem begins an item of the offered subprotocols that is a token: browsers can set no other header.
const bearerItem = "bearer."

// choose returns what the client wants to speak of Portico's own protocols: the first it offers, JSON if it offers none.
func (a *Adapter) choose(r *http.Request) (wire, *core.Error) {
	none := true
	for _, offered := range websocket.Subprotocols(r) {
		switch {
		case offered == Protocol:
			return jsonWire{}, nil
		case offered == ProtocolCBOR:
			return a.binary, nil
		case !strings.HasPrefix(offered, bearerItem):
			none = false
		}
	}
	if none {
		return jsonWire{}, nil
	}
	return nil, core.Errorf(core.CodeInvalid, "none of the subprotocols is spoken here: offer %s, %s, %s", Protocol, ProtocolCBOR, strings.Join(spoken[:], ", "))
}

// speak sets up a connection that has not begun as its request wants it.
func (c *conn) speak(w wire, r *http.Request) {
	c.wire = w
	c.batches.Store(r.URL.Query().Get("batch") == "true")
}

// offeredToken is the token among the offered subprotocols. shows is false if there is none; CodeUnauthenticated for one that cannot be read.
func offeredToken(r *http.Request) (token string, shows bool, e *core.Error) {
	for _, offered := range websocket.Subprotocols(r) {
		text, ok := strings.CutPrefix(offered, bearerItem)
		if !ok {
			continue
		}
		b, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil || len(b) == 0 {
			return "", true, core.Errorf(core.CodeUnauthenticated, "%s must be followed by a token in base64url without padding", bearerItem)
		}
		return string(b), true, nil
	}
	return "", false, nil
}
